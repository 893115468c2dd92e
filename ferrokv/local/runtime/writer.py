"""The writer: group commit, one frame and one sync for everything that is waiting.

Whoever has the turn takes the write lock among processes, runs the waiting commands as one group,
appends them as one frame, releases the write lock, makes the frame durable and answers. Usually
that is the writer thread, which signals and cancellation never reach.

A blocking caller that finds an empty queue and nobody writing takes the turn itself: it leads. That
saves two thread switches, a quarter of a durable write. A signal handler may raise there at any
point; log/commit.py leaves a consistent store in every case. Where threads cannot run (threads.py),
callers always lead, and do the background work as well.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from queue import Empty
from typing import Final

from ...errors import FerroKVError, StoreBusy, StoreClosed, StoreFull
from ..engine.engine import Engine, logger, named
from ..engine.wakeups import is_lock_waited_for
from ..log.commit import LogEnd, append, make_durable, may_stay_unsynced, rotate, rotation_due, show_durable
from ..log.transaction import Group
from ..log.writing import begin_writing
from ..upkeep.quotas import quota_due
from .admission import Admission
from .brake import LOOK_SECONDS, Brake
from .mailbox import Mailbox
from .waiters import REENTERED, WriterRequest, deliver, fail_all, wants_sync, without_frames

GROUP_REQUESTS_MAX: Final = 1024
HELP_SECONDS: Final = 0.02  # between checks whether another process has made room
QUEUE_REQUESTS_MAX: Final = 1 << 17
GROUP_BYTES_MAX: Final = 1 << 20
FULL_SECONDS: Final = 1.0  # how long a write waits for a flush when the disk is full

_TIDY: Final = WriterRequest(None, "", ())  # leaves the work after a commit to the thread, for a caller that led
_NOBODY: Final[deque[WriterRequest]] = deque()


class Writer:
    """Serves requests in order of arrival. `submit` may be called from any thread."""

    def __init__(
        self, engine: Engine, wake_background: Callable[[], None], help_background: Callable[[], None]
    ) -> None:
        self._engine = engine
        self._wake_background = wake_background
        self._help_background = help_background
        self._has_thread = False  # if False, callers lead and do the background work; owner: the gate
        self._queue: Mailbox[WriterRequest | None] = Mailbox()
        self._room = threading.Condition()
        self.brake = Brake(engine)
        self.admission = Admission(engine, wake_background)
        self._turn = threading.RLock()  # re-entrant only so that its owner can be identified
        self._is_mine: Callable[[], bool] = self._turn._is_owned  # type: ignore[attr-defined]
        self._serving = False  # hint that the turn is taken; owner: the turn
        self._gate = threading.RLock()
        self._closing = False  # owner: the gate
        self._stopped = False  # owner: the turn
        self._thread = threading.Thread(target=self._run, name="ferrokv-writer", daemon=True)

    def start(self) -> None:
        """Start taking requests."""
        self._has_thread = True
        self._thread.start()

    def submit(self, request: WriterRequest) -> None:
        """Queue a request. Its waiter is told once it is durable.

        `StoreBusy` if too many requests are waiting, or in a signal handler or destructor that
        interrupted a write of its own thread; `StoreClosed` once the store is closing.
        """
        self._refuse_reentry()
        if len(self._queue) >= QUEUE_REQUESTS_MAX:
            raise StoreBusy(f"too many writes are waiting: limit={QUEUE_REQUESTS_MAX}")
        # Order: a request queued under the gate comes before the end mark, so it is served.
        with self._gate:
            queued = self._has_thread or self._closing
            if queued:
                self._put_unless_closing(request)
        if not queued:
            self._serve_here(request)

    def lead(self, request: WriterRequest) -> bool:
        """Serve the request in the caller's thread if nobody waits or writes; else return False."""
        self._refuse_reentry()
        if not self._has_thread:
            self._serve_here(request)
            return True
        # Waiting for room is left to the thread, where nothing interrupts it.
        if self._serving or self._queue or not self._has_room() or self.brake.is_on:
            return False
        if self.admission.holds_back(request):
            return False
        # Order: plain `with`: a signal between `acquire()` and a `try` would keep the turn forever.
        with self._turn:
            work_left = self._serve([request], _NOBODY)
        if work_left:
            self._queue.put(_TIDY)
        return True

    def submit_first(self, request: WriterRequest) -> None:
        """Queue a request of the background that makes room, ahead of everything that waits."""
        with self._gate:
            if self._closing:
                raise StoreClosed("the store is closing; open it again")
            queued = self._has_thread
            request.since = time.monotonic()
            if queued:
                self.admission.first.append(request)
                self._queue.put(_TIDY)
        if not queued:
            with self._turn:
                self._serve([request], _NOBODY)

    def stop(self) -> None:
        """Finish what is queued or led, then refuse everything. Blocks. No one owns the WAL then."""
        with self._gate:
            self._closing = True
            self.admission.is_open = True
        self.memtables_flushed()
        self.go_without_thread()
        with self._turn:
            self._stopped = True

    def go_without_thread(self) -> None:
        """Finish what is queued and end the thread. From then on callers lead. Blocks."""
        with self._gate:
            self._has_thread = False
            self._queue.put(None)
        if self._thread.ident is not None:
            self._thread.join()

    def exclusively(self, work: Callable[[], None], seconds: float) -> None:
        """Call `work()` while nobody here writes; skip it if the turn is taken for `seconds`."""
        try:
            if self._turn.acquire(timeout=seconds):
                work()
        finally:
            if self._is_mine():
                self._turn.release()

    def _serve_here(self, request: WriterRequest) -> None:
        request.since = time.monotonic()
        with self._turn:
            if self._serve([request], _NOBODY):
                self._tidy()
        # Order: after the turn, so that other threads can write meanwhile.
        self._help_background()

    def memtables_flushed(self) -> None:
        """Tell waiting writers that a flush has made room. Called by the background work."""
        with self._room:
            self._room.notify_all()

    def _put_unless_closing(self, request: WriterRequest) -> None:
        if self._closing:
            raise StoreClosed("the store is closing; open it again")
        request.since = time.monotonic()
        self._queue.put(request)

    @property
    def mine(self) -> bool:
        """True if the calling thread is in the middle of a write or of a change to the queue."""
        owned: bool = self._gate._is_owned()  # type: ignore[attr-defined]
        return owned or self._is_mine() or self._engine.view.active.is_mine()

    @property
    def thread(self) -> threading.Thread:
        """The writer thread."""
        return self._thread

    def _refuse_reentry(self) -> None:
        # Ask the locks rather than a flag: a handler can run right after a lock was taken.
        if self._is_mine() or self._engine.view.active.is_mine():
            raise StoreBusy(REENTERED)

    def _run(self) -> None:
        waiting: deque[WriterRequest] = deque()
        open_ = True
        while open_ or waiting:
            if not waiting:
                request = self._queue.get()
                if request is None:
                    return
                waiting.append(request)
            open_ = self._take(waiting) and open_
            request = self.admission.next_of(waiting)
            if request is None:
                # All of them wait for room in their keyspaces. Meanwhile look at whatever arrives.
                open_ = self._take_one(waiting) and self._take(waiting, QUEUE_REQUESTS_MAX) and open_
                continue
            group = [request]
            with self._turn:
                if request is _TIDY or self._serve(group, waiting):
                    self._tidy()

    def _tidy(self) -> None:
        try:
            self._after_commit()
        except Exception:  # noqa: BLE001 - the thread must survive, or writers would wait forever
            logger.exception("unexpected error in the work after a commit")

    def _take_one(self, waiting: deque[WriterRequest]) -> bool:
        """Wait a moment for another request. False once the end is reached."""
        try:
            request = self._queue.get(timeout=LOOK_SECONDS)
        except Empty:
            return True
        if request is not None:
            waiting.append(request)
        return request is not None

    def _take(self, waiting: deque[WriterRequest], limit: int = GROUP_REQUESTS_MAX) -> bool:
        """Move newly queued requests to `waiting`. False once the end is reached."""
        while self._queue and len(waiting) < limit:
            request = self._queue.get_nowait()
            if request is None:
                return False
            waiting.append(request)
        return True

    def _serve(self, served: list[WriterRequest], waiting: deque[WriterRequest]) -> bool:
        """Commit the first request and as many waiting ones as fit; True if work is left to do."""
        self._serving = True
        try:
            self._attempt(served, waiting)
        except FerroKVError as error:
            fail_all(served, without_frames(error))
        except OSError as error:
            fail_all(served, without_frames(named(error, "writing")))
        except Exception as error:  # noqa: BLE001
            # A signal handler raised in a leading caller, or there is a bug. Nobody is left
            # waiting. INTENT marks half-written bytes; the next commit of any process continues
            # from the proven end.
            fail_all(served, error)
        # Order: wake waiters last, right before this thread waits: it holds the GIL until then.
        self._serving = False
        engine = self._engine
        work_left = rotation_due(engine) or engine.view.active.index_hungry or quota_due(engine)
        deliver(served)
        return work_left

    def _attempt(self, served: list[WriterRequest], waiting: deque[WriterRequest]) -> None:
        if served[0].command is None:
            self._seal(served[0])
            return
        try:
            self._commit(served, waiting)
        except StoreFull:
            if not self._wait_for_background() and len(served) == 1:
                raise
            # One by one, since deletions still work when other writes have no room.
            for request in served:
                request.answer = request.error = None
                try:
                    self._commit([request], _NOBODY)
                except FerroKVError as error:
                    fail_all([request], without_frames(error))

    def _wait_for_background(self) -> bool:
        """Have the background flush when the disk is full; False if there is nothing to flush."""
        engine = self._engine
        if not engine.is_short or not engine.view.sealed:
            return False
        if not self._has_thread:
            engine.ran_short()
            self._help_background()
            return True
        with self._room:
            engine.ran_short()
            self._room.wait(min(FULL_SECONDS, engine.options.busy_timeout))
        return True

    def _commit(self, served: list[WriterRequest], waiting: deque[WriterRequest]) -> None:
        if self._stopped:
            raise StoreClosed("the store is closed; open it again")
        engine = self._engine
        try:
            self._begin(served[0], braked=not served[0].makes_room)
            group = Group(engine)
            wal, appended = self._append(group, served, waiting)
        finally:
            engine.unlock_write()
        is_awaited = group.frees_lock and is_lock_waited_for(engine)
        if not wants_sync(served) and not is_awaited and may_stay_unsynced(engine):
            return
        # Also if nothing was written: answers may depend on writes that are not durable yet.
        make_durable(engine, wal, appended)
        show_durable(engine)

    def _append(self, group: Group, served: list[WriterRequest], waiting: deque[WriterRequest]) -> LogEnd:
        engine = self._engine
        request: WriterRequest | None = served[0]
        while request is not None:
            try:
                assert request.command is not None
                request.answer = group.run(request.command, request.keyspace, request.args)
            except BaseException as error:
                # For the command's caller. A signal handler's error in a leading caller propagates.
                if not isinstance(error, Exception) and threading.current_thread() is not self._thread:
                    raise
                request.error = named(error, "reading") if isinstance(error, OSError) else error
            request = None
            following = waiting[0] if waiting and group.changes.payload_bytes < GROUP_BYTES_MAX else None
            if following is not None and following.command is not None and not self.admission.holds_back(following):
                request = waiting.popleft()
                served.append(request)
        if group.changes:
            self.brake.note_written(group.changes.payload_bytes)
            return append(engine, group.changes, group.changes.catalogue, sync_follows=wants_sync(served))
        with engine.lock:
            return engine.wal, engine.appended

    def _seal(self, request: WriterRequest) -> None:
        """Rotate, so that all that any process wrote before this request can be flushed."""
        try:
            self._begin(request, braked=False)  # it adds nothing, and its caller wants to catch up
            if self._engine.view.active.entries:
                rotate(self._engine)
        finally:
            self._engine.unlock_write()
        request.answer = True

    def _begin(self, request: WriterRequest, *, braked: bool = True) -> None:
        """Take the write lock once there is room; `StoreBusy` if the request waited too long."""
        engine = self._engine
        now = time.monotonic()
        deadline = (request.since or now) + engine.options.busy_timeout
        if braked and not engine.is_short:
            self._slow_down()
        while True:
            # On a full disk, only deletions are written, and they are small.
            if braked and self.brake.is_stopped and not engine.is_short:
                self._wait_for_room(deadline)
            begin_writing(engine, max(0.0, deadline - time.monotonic()))
            if self._has_room() or engine.is_short:
                return
            engine.unlock_write()
            self._wait_for_room(deadline)

    def _has_room(self) -> bool:
        """True if fewer sealed memtables than the limit wait to be flushed."""
        return len(self._engine.view.sealed) < self._engine.options.sealed_memtables_max

    def _slow_down(self) -> None:
        """Delay a commit as long as the brake says, but not once the store is closing."""
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
                logger.warning("cannot rotate the WAL yet: %s", str(error))
            except FerroKVError as error:
                logger.error("cannot rotate the WAL: %s", str(error))
            finally:
                engine.unlock_write()
            self._wake_background()
        elif quota_due(engine):
            self._wake_background()
        engine.view.active.feed_index()

    def _wait_for_room(self, deadline: float) -> None:
        """Wait while flushes or compaction are too far behind; `StoreBusy` if it takes too long."""
        self._wake_background()
        began = now = time.monotonic()
        while not self._has_thread and not self._may_go_on() and now < deadline:
            self._help_background()  # unless another process is doing it
            if not self._may_go_on():
                time.sleep(HELP_SECONDS)
                self._wake_background()
            now = time.monotonic()
        with self._room:
            # Another process may make the room, and nobody signals that.
            while not (done := self._may_go_on()) and now < deadline:
                self._room.wait(min(LOOK_SECONDS, deadline - now))
                now = time.monotonic()
        self.brake.note_waited(now - began, stopped=True)
        if not done:
            raise self.brake.error()

    def _may_go_on(self) -> bool:
        engine = self._engine
        return engine.failure is not None or engine.is_short or (self._has_room() and not self.brake.is_stopped)
