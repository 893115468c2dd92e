"""The writer: whoever has the turn owns the WAL's tail and the active memtable, and commits what is waiting as one group.

That is a thread of its own, which signals and cancellation never reach. Only a blocking caller who finds nobody waiting and
nobody at it takes the turn itself, which saves two thread switches, a quarter of a durable write. A signal handler may raise
there at any point; the commit is made so that this leaves a consistent store (engine/commit.py).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Final

from ..engine.commit import commit, rotate, rotation_due
from ..engine.engine import Engine, logger
from ..engine.transaction import Group
from ..errors import FerroKVError, StoreBusy, StoreClosed, StoreFull
from ..storage.drivers import complete
from .waiters import Request, deliver, fail_all

GROUP_REQUESTS_MAX: Final = 1024
QUEUE_REQUESTS_MAX: Final = 1 << 17
GROUP_BYTES_MAX: Final = 1 << 20


_TIDY: Final = Request(None, "", ())  # a caller who led leaves the work behind the commit to the thread
_NOBODY: Final[deque[Request]] = deque()


class Writer:
    """Takes requests in order of arrival. `submit` may be called from any thread."""

    def __init__(self, engine: Engine, wake_background: Callable[[], None]) -> None:
        self._engine = engine
        self._wake_background = wake_background
        self._queue: SimpleQueue[Request | None] = SimpleQueue()
        self._room = threading.Condition()
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
        engine = self._engine
        # A doubtful tail needs a rotation, and missing room a wait: both are left to the thread, where nothing interrupts them.
        if (
            self._serving
            or engine.wal.doubtful
            or len(engine.view.sealed) >= engine.options.sealed_memtables_max
            or not self._queue.empty()
        ):
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
                    self._after_commit()

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
            # were on their way the WAL's tail counts as doubtful, so that the next commit goes on from what is proven.
            fail_all(served, error)
        # Order: waking a waiter is the last thing before this thread waits itself, for it holds the interpreter until then.
        self._serving = False
        work_left = rotation_due(self._engine) or self._engine.view.active.index_hungry
        deliver(served)
        return work_left

    def _commit(self, served: list[Request], waiting: deque[Request]) -> None:
        engine = self._engine
        if self._stopped:
            raise StoreClosed("the store is closed; open it again")
        if len(engine.view.sealed) >= engine.options.sealed_memtables_max:
            self._wait_for_room()
        group = Group(engine)
        request: Request | None = served[0]
        while request is not None:
            try:
                assert request.command is not None
                request.answer = group.run(request.command, request.keyspace, request.args)
            except Exception as error:  # noqa: BLE001 - it belongs to the caller of this command
                request.error = error
            request = None
            if waiting and waiting[0].command is not None and group.payload_bytes < GROUP_BYTES_MAX:
                request = waiting.popleft()
                served.append(request)
        if group.writes:
            complete(commit(engine, group.writes, group.catalogue), engine.storage)

    def _seal(self, request: Request) -> None:
        """Rotate so that everything written before this request can be flushed."""
        if self._engine.view.active.entries:
            self._wait_for_room()
            complete(rotate(self._engine), self._engine.storage)
        request.answer = True

    def _after_commit(self) -> None:
        engine = self._engine
        if rotation_due(engine) and engine.failure is None:
            try:
                complete(rotate(engine), engine.storage)
            except StoreFull as error:
                logger.warning("the WAL could not be rotated yet: %s", error)
            except FerroKVError as error:
                logger.error("the WAL could not be rotated: %s", error)
            self._wake_background()
        engine.view.active.feed_index()

    def _wait_for_room(self) -> None:
        """Wait while too many memtables are still to be flushed; `StoreBusy` when that takes too long."""
        engine = self._engine
        limit = engine.options.sealed_memtables_max
        if len(engine.view.sealed) < limit:
            return
        self._wake_background()
        with self._room:
            done = self._room.wait_for(
                lambda: len(engine.view.sealed) < limit or engine.failure is not None, engine.options.busy_timeout
            )
        if not done:
            raise StoreBusy(
                f"memtables are not flushed in time: sealed={len(engine.view.sealed)} limit={limit} "
                f"busy_timeout={engine.options.busy_timeout}"
            )
