"""The writer: whoever has the turn takes the write lock among processes, and commits what is waiting as one group.

That is a thread of its own, which signals and cancellation never reach. Only a blocking caller who finds nobody waiting and
nobody at it takes the turn itself, which saves two thread switches, a quarter of a durable write. A signal handler may raise
there at any point; the commit is made so that this leaves a consistent store (engine/commit.py).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Final

from ..engine.commit import Tail, append, make_durable, rotate, rotation_due, show_durable
from ..engine.engine import Engine, logger
from ..engine.quotas import quota_due
from ..engine.transaction import Group
from ..engine.turns import begin_writing
from ..errors import FerroKVError, StoreBusy, StoreClosed, StoreFull
from .brake import LOOK_SECONDS, Brake
from .waiters import Request, deliver, fail_all

GROUP_REQUESTS_MAX: Final = 1024
QUEUE_REQUESTS_MAX: Final = 1 << 17
GROUP_BYTES_MAX: Final = 1 << 20
UNSYNCED_COMMITS_MAX: Final = 64  # of all processes, since each transaction looks through them
UNSYNCED_BYTES_MAX: Final = 1 << 20

_TIDY: Final = Request(None, "", ())  # a caller who led leaves the work behind the commit to the thread
_NOBODY: Final[deque[Request]] = deque()


class Writer:
    """Takes requests in order of arrival. `submit` may be called from any thread."""

    def __init__(self, engine: Engine, wake_background: Callable[[], None]) -> None:
        self._engine = engine
        self._wake_background = wake_background
        self._queue: SimpleQueue[Request | None] = SimpleQueue()
        self._room = threading.Condition()
        self.brake = Brake(engine)
        self._turn = threading.RLock()  # re-entrant only so that its owner can be told from others
        self._is_mine: Callable[[], bool] = self._turn._is_owned  # type: ignore[attr-defined]
        self._serving = False  # a hint that somebody has the turn; owner: the turn
        self._gate = threading.RLock()
        self._closing = False  # owner: the gate
        self._stopped = False  # owner: the turn
        self._thread = threading.Thread(target=self._run, name="ferrokv-writer", daemon=True)

    def start(self) -> None:
        """Begin to take requests."""
        self._thread.start()

    def submit(self, request: Request) -> None:
        """Queue the request; its waiter is told when it is durable.

        `StoreBusy` when too many are waiting already, or for a signal handler or destructor that came in the middle of a write
        by its own thread; `StoreClosed` once the store is closing.
        """
        self._refuse_reentry()
        if self._queue.qsize() >= QUEUE_REQUESTS_MAX:
            raise StoreBusy(f"too many writes are waiting: limit={QUEUE_REQUESTS_MAX}")
        # Order: what is put under the gate stands before the end mark, so it is served.
        with self._gate:
            self._put_unless_closing(request)

    def lead(self, request: Request) -> bool:
        """Serve the request in the caller's thread if nobody is waiting or at it; False if it has to be submitted."""
        self._refuse_reentry()
        # Missing room needs a wait, which is left to the thread, where nothing interrupts it.
        if self._serving or not self._queue.empty() or not self._has_room() or self.brake.is_on:
            return False
        # Order: `with` alone, since a signal between a successful `acquire()` and a `try` would keep the turn for ever.
        with self._turn:
            work_left = self._serve([request], _NOBODY)
        if work_left:
            self._queue.put(_TIDY)
        return True

    def stop(self) -> None:
        """Finish what is queued or being led, then refuse everything. Blocks. The WAL has no owner afterwards."""
        with self._gate:
            self._closing = True
            self._queue.put(None)
        self.memtables_flushed()
        self._thread.join()
        with self._turn:
            self._stopped = True

    def memtables_flushed(self) -> None:
        """Background says that there is room again."""
        with self._room:
            self._room.notify_all()

    def _put_unless_closing(self, request: Request) -> None:
        if self._closing:
            raise StoreClosed("the store is closing; open it again")
        request.since = time.monotonic()
        self._queue.put(request)

    @property
    def mine(self) -> bool:
        """True if the calling thread is in the middle of something here, or is the writer thread itself."""
        owned: bool = self._gate._is_owned()  # type: ignore[attr-defined]
        return owned or self._is_mine() or self._engine.view.active.is_mine()

    @property
    def thread(self) -> threading.Thread:
        """The writer thread."""
        return self._thread

    def _refuse_reentry(self) -> None:
        # Ownership of the locks is asked for, and no flag, since a handler can come right behind the taking of a lock.
        if self._is_mine() or self._engine.view.active.is_mine():
            raise StoreBusy("a signal handler or destructor can not write in the middle of a write by its own thread")

    def _run(self) -> None:
        waiting: deque[Request] = deque()
        open_ = True
        while open_ or waiting:
            if not waiting:
                request = self._queue.get()
                if request is None:
                    return
                waiting.append(request)
            open_ = self._take(waiting) and open_
            group = [waiting.popleft()]
            with self._turn:
                if group[0] is _TIDY or self._serve(group, waiting):
                    self._tidy()

    def _tidy(self) -> None:
        try:
            self._after_commit()
        except Exception:  # noqa: BLE001 - the thread must live on, or writers would wait for ever
            logger.exception("the work behind a commit met an unexpected error")

    def _take(self, waiting: deque[Request]) -> bool:
        """Move what has been queued meanwhile; False once the end is reached."""
        get = self._queue.get_nowait
        try:
            while len(waiting) < GROUP_REQUESTS_MAX:
                request = get()
                if request is None:
                    return False
                waiting.append(request)
        except Empty:
            return True
        return True

    def _serve(self, served: list[Request], waiting: deque[Request]) -> bool:
        """Commit the first request and as many of the waiting ones as fit, and answer them. True if work is left to do."""
        self._serving = True
        try:
            if served[0].command is None:
                self._seal(served[0])
            else:
                self._commit(served, waiting)
        except FerroKVError as error:
            fail_all(served, error)
        except Exception as error:  # noqa: BLE001
            # What a signal handler raised in a caller who leads, or a mistake of ours. Nobody is left waiting, and if bytes
            # were on their way, INTENT says so, and the next commit of any process goes on from what is proven.
            fail_all(served, error)
        # Order: waking a waiter is the last thing before this thread waits itself, for it holds the interpreter until then.
        self._serving = False
        engine = self._engine
        work_left = rotation_due(engine) or engine.view.active.index_hungry or quota_due(engine)
        deliver(served)
        return work_left

    def _commit(self, served: list[Request], waiting: deque[Request]) -> None:
        if self._stopped:
            raise StoreClosed("the store is closed; open it again")
        engine = self._engine
        try:
            self._begin(served[0])
            wal, appended = self._append(served, waiting)
        finally:
            engine.unlock_write()
        if not _wants_sync(served) and self._may_stay_unsynced():
            return
        # Also for commands that wrote nothing: what they saw may not be durable yet, and their answers tell of it.
        make_durable(engine, wal, appended)
        show_durable(engine)

    def _may_stay_unsynced(self) -> bool:
        """True while little is appended that no sync has covered, by whichever process."""
        engine = self._engine
        with engine.lock:
            durable, appended, commits = engine.wal.position, engine.appended, len(engine.pending)
        near = durable.number == appended.number and appended.end - durable.end < UNSYNCED_BYTES_MAX
        return near and commits < UNSYNCED_COMMITS_MAX

    def _append(self, served: list[Request], waiting: deque[Request]) -> Tail:
        engine = self._engine
        group = Group(engine)
        request: Request | None = served[0]
        while request is not None:
            try:
                assert request.command is not None
                request.answer = group.run(request.command, request.keyspace, request.args)
            except BaseException as error:
                # It belongs to the caller of this command. In a caller who leads it may be a signal handler's, and goes its way.
                if not isinstance(error, Exception) and threading.current_thread() is not self._thread:
                    raise
                request.error = error
            request = None
            if waiting and waiting[0].command is not None and group.changes.payload_bytes < GROUP_BYTES_MAX:
                request = waiting.popleft()
                served.append(request)
        if group.changes:
            self.brake.note_written(group.changes.payload_bytes)
            return append(engine, group.changes, group.changes.catalogue, sync_follows=_wants_sync(served))
        with engine.lock:
            return engine.wal, engine.appended

    def _seal(self, request: Request) -> None:
        """Rotate so that everything written before this request, in any process, can be flushed."""
        try:
            self._begin(request, braked=False)  # it adds nothing, and whoever asks wants to catch up
            if self._engine.view.active.entries:
                rotate(self._engine)
        finally:
            self._engine.unlock_write()
        request.answer = True

    def _begin(self, request: Request, *, braked: bool = True) -> None:
        """Take the write lock when there is room; `StoreBusy` when the request has waited for too long, in the queue included."""
        engine = self._engine
        now = time.monotonic()
        deadline = (request.since or now) + engine.options.busy_timeout
        if braked:
            self._slow_down()
        while True:
            if braked and self.brake.is_stopped:
                self._wait_for_room(deadline)
            begin_writing(engine, max(0.0, deadline - time.monotonic()))
            if self._has_room():
                return
            engine.unlock_write()
            self._wait_for_room(deadline)

    def _has_room(self) -> bool:
        """True if fewer memtables than the limit are still to be flushed."""
        return len(self._engine.view.sealed) < self._engine.options.sealed_memtables_max

    def _slow_down(self) -> None:
        """Delay a commit for as long as the brake says; not at all once the store is closing."""
        seconds = self.brake.delay()
        if seconds > 0 and not self._closing:
            with self._room:
                self._room.wait_for(lambda: self._closing or not self.brake.delay(), seconds)
            self.brake.note_waited(seconds, stopped=False)

    def _after_commit(self) -> None:
        engine = self._engine
        if rotation_due(engine) and engine.failure is None:
            try:
                begin_writing(engine, engine.options.busy_timeout)
                if rotation_due(engine):
                    rotate(engine)
            except (StoreFull, StoreBusy) as error:
                logger.warning("the WAL could not be rotated yet: %s", error)
            except FerroKVError as error:
                logger.error("the WAL could not be rotated: %s", error)
            finally:
                engine.unlock_write()
            self._wake_background()
        elif quota_due(engine):
            self._wake_background()
        engine.view.active.feed_index()

    def _wait_for_room(self, deadline: float) -> None:
        """Wait while compaction or flushes are too far behind; `StoreBusy` when that takes too long."""
        engine = self._engine
        self._wake_background()
        began = now = time.monotonic()
        with self._room:
            # Another process may be the one that makes room, and then nobody tells.
            while not (done := self._may_go_on()) and now < deadline:
                self._room.wait(min(LOOK_SECONDS, deadline - now))
                now = time.monotonic()
        self.brake.note_waited(now - began, stopped=True)
        if not done:
            raise StoreBusy(
                "writes wait for flushes or compaction, which are too far behind: "
                f"sealed={len(engine.view.sealed)} sealed_memtables_max={engine.options.sealed_memtables_max} "
                f"level0={engine.level0_tables} level0_stop={engine.options.stop_at} "
                f"busy_timeout={engine.options.busy_timeout:.3g} compactor_pid={engine.compactor_pid}"
            )

    def _may_go_on(self) -> bool:
        return self._engine.failure is not None or (self._has_room() and not self.brake.is_stopped)


def _wants_sync(served: list[Request]) -> bool:
    """True if somebody waits until it is durable."""
    return served[0].wants_sync or any(request.wants_sync for request in served)
