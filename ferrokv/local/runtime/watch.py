"""How this process waits for keys: its waiters, and one thread that listens for other processes.

The thread runs only while somebody waits. It sleeps on a word of the control page. When woken, it
follows the WAL, and whichever thread makes a commit visible wakes the waiters for its keys
(engine/wakeups.py). Once a second the thread also checks what nobody signals: a writer that died
before waking anybody, the death of a process that holds a lock, and an event loop that was closed.
"""

from __future__ import annotations

import os
import threading
import time
from _thread import LockType, allocate_lock
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from ...errors import FerroKVError, StoreBusy
from ..engine.engine import Engine, logger
from ..engine.wakeups import (
    Kind,
    Waiter,
    is_all_durable,
    rest,
    say_lock_is_waited_for,
    sleep_until_news,
    wake_sleepers,
)
from ..log.replica import catch_up
from ..storage.drivers import complete

if TYPE_CHECKING:
    import asyncio

TICK_SECONDS: Final = 1.0
# How long to rest after news that nobody here waited for. This bounds the wake-ups in a busy store
# to 2,000 per second and process, and saves a writer from waking processes that are awake.
CALM_SECONDS: Final = 0.0005
JOIN_SECONDS: Final = 0.01


class Watch:
    """The waiters of one store in one process. All methods may be called from any thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._pid = os.getpid()
        self._thread: threading.Thread | None = None  # owner of this and the next: the engine's lock
        self._stopping = False
        self._wanted = threading.Event()  # somebody is armed, or the thread has to end
        engine.waiters.tell = _tell

    def arm(self, waiter: Waiter) -> None:
        """From now on a change wakes the waiter. Starts the thread if it is not running.

        `StoreClosed` once the store is closing; `StoreBusy` if no thread can be started.
        """
        engine = self._engine
        if waiter.kind == "locks":
            say_lock_is_waited_for(engine)
        with engine.lock:
            engine.waiters.arm(waiter, engine.view.catalogue)
            if self._thread is not None:
                self._wanted.set()
                return
            thread = self._thread = threading.Thread(target=self._run, name="ferrokv-watch", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            with engine.lock:
                self._thread = None
                engine.waiters.leave(waiter)
            raise StoreBusy(f"cannot start a thread to wait for other processes: {error}") from error

    def leave(self, waiter: Waiter, *, took: bool = False) -> None:
        """The waiter stops waiting.

        Does nothing in a forked child, where the lock may belong to a thread that does not exist.
        """
        if os.getpid() == self._pid:
            with self._engine.lock:
                self._engine.waiters.leave(waiter, took=took)

    def is_first(self, waiter: Waiter) -> bool:
        """See `WaiterIndex.is_first`."""
        with self._engine.lock:
            return self._engine.waiters.is_first(waiter)

    def end_for(self, owner: object) -> None:
        """End the waits of a handle that is being closed, with `StoreClosed`."""
        with self._engine.lock:
            self._engine.waiters.end_for(owner)

    @property
    def thread(self) -> threading.Thread | None:
        """The thread, while there is one."""
        return self._thread

    def stop(self) -> None:
        """End all waits with `StoreClosed`, and end the thread. Blocks briefly."""
        engine = self._engine
        with engine.lock:
            self._stopping = True
            self._wanted.set()
            thread = self._thread
            engine.waiters.close()
        while thread is not None and thread.is_alive():
            # Repeat, since it may just be falling asleep. Other processes that this wakes go back
            # to sleep.
            wake_sleepers(engine)
            thread.join(JOIN_SECONDS)

    def _run(self) -> None:
        engine = self._engine
        due = time.monotonic() + TICK_SECONDS
        failed = False
        while self._goes_on():
            woken = engine.waiters.woken
            try:
                if failed:  # wait for the next tick, whatever is new
                    rest(engine, due - time.monotonic())
                else:
                    sleep_until_news(engine, max(0.0, due - time.monotonic()))
                failed = False
                complete(catch_up(engine), engine.storage)
                if time.monotonic() >= due:
                    due = time.monotonic() + TICK_SECONDS
                    self._tick()
            except FerroKVError:
                failed = True
            except Exception:  # noqa: BLE001 - the thread must survive, or nobody would be woken
                logger.exception("unexpected error while waiting for other processes")
                failed = True
            if failed:
                with engine.lock:
                    engine.waiters.wake_all()  # each of them runs into the error itself
            elif engine.waiters.woken == woken:
                time.sleep(CALM_SECONDS)

    def _goes_on(self) -> bool:
        """False when nobody has waited for a second, so frequent waiters reuse the thread."""
        engine, waited = self._engine, self._engine.waiters
        for last in (False, True):
            with engine.lock:
                if waited.armed and not self._stopping:
                    return True
                if last or self._stopping:
                    self._thread = None
                    return False
                self._wanted.clear()
            self._wanted.wait(TICK_SECONDS)
        return False

    def _tick(self) -> None:
        engine, waited = self._engine, self._engine.waiters
        with engine.lock:
            waited.tick(lambda channel: channel is not None and channel.is_closed())
            holders = waited.holders()
            if not waited.waits_for_locks:
                return
        say_lock_is_waited_for(engine)
        own = engine.storage.announced()
        dead = {holder for holder in holders if holder != own and not engine.storage.is_announced(holder)}
        with engine.lock:
            # A write that is appended but not durable may free a lock, if a process that stalled
            # for seconds has not said that it waits.
            waited.wake_heirs(dead if is_all_durable(engine) else None)


def _tell(channel: Any, waiters: list[Any]) -> bool:
    """Wake threads, or all tasks of one event loop with one call. False if the loop is closed."""
    if channel is None:
        for waiter in waiters:
            waiter.release()
        return True
    try:
        channel.call_soon_threadsafe(_resolve, waiters)
    except RuntimeError:
        return False
    return True


def _resolve(waiters: list[AsyncWaiter]) -> None:
    for waiter in waiters:
        waiter.release()


class BlockingWaiter(Waiter):
    """The waiter of a thread. Leaving its context ends the waiting."""

    __slots__ = ("_lock", "_took", "watch")

    def __init__(self, watch: Watch, kind: Kind, wanted: list[tuple[str, bytes]], owner: object) -> None:
        super().__init__(kind, wanted, owner)
        self.watch = watch
        self._lock: LockType = allocate_lock()
        self._took = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.watch.leave(self, took=self._took)

    def prepare(self) -> None:
        """Make a new lock that nobody has released yet."""
        self._lock = allocate_lock()
        self._lock.acquire()

    def release(self) -> None:
        """Wake the thread. Safe to repeat; called under the engine's lock."""
        if self._lock.locked():
            self._lock.release()

    def arm(self) -> None:
        """From now on a change wakes this waiter. After arming, check the keys before waiting."""
        self.watch.arm(self)

    def take(self) -> None:
        """Record that it took what it was woken for."""
        self._took = True

    @property
    def is_first(self) -> bool:
        """True for the first in line."""
        return self.watch.is_first(self)

    def wait(self, seconds: float | None) -> bool:
        """Return True once woken, False on timeout.

        `StoreClosed` if the store is closed meanwhile.
        """
        if not self.is_woken:
            limit = threading.TIMEOUT_MAX
            self._lock.acquire(timeout=limit if seconds is None else min(max(seconds, 0.0), limit))
        return self.is_woken


class AsyncWaiter(Waiter):
    """The waiter of a task. Leaving its context ends the waiting."""

    __slots__ = ("_future", "_took", "watch")

    def __init__(self, watch: Watch, kind: Kind, wanted: list[tuple[str, bytes]], owner: object) -> None:
        from asyncio import get_running_loop  # already imported here, but not in programs without an event loop

        super().__init__(kind, wanted, owner, get_running_loop())
        self.watch = watch
        self._future: asyncio.Future[None] = self.channel.create_future()
        self._took = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.watch.leave(self, took=self._took)

    def prepare(self) -> None:
        """Make a new future."""
        self._future = self.channel.create_future()

    def release(self) -> None:
        """Wake the task. Called in its event loop."""
        if not self._future.done():
            self._future.set_result(None)

    def arm(self) -> None:
        """From now on a change wakes this waiter. After arming, check the keys before waiting."""
        self.watch.arm(self)

    def take(self) -> None:
        """Record that it took what it was woken for."""
        self._took = True

    @property
    def is_first(self) -> bool:
        """True for the first in line."""
        return self.watch.is_first(self)

    async def wait(self, seconds: float | None) -> bool:
        """Return True once woken, False on timeout.

        `StoreClosed` if the store is closed meanwhile.
        """
        deadline = None if seconds is None else self.channel.time() + seconds
        # The wake-up call may come late and hit the future of the next wait, so only `is_woken`
        # counts.
        while not self.is_woken and (deadline is None or self.channel.time() < deadline):
            if self._future.done():
                self.prepare()
            timer = None if deadline is None else self.channel.call_at(deadline, self.release)
            try:
                await self._future
            finally:
                if timer is not None:
                    timer.cancel()
        return self.is_woken
