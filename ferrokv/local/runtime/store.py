"""A directory in one process: engine, threads and locks, shared by all of its handles.

A store is open, closed, or inherited: `state` says which. In a forked child it is inherited until
its first use, which opens the directory again. The parts of a store, such as `engine`, are there
only while it is open. Asking for one otherwise raises `StoreClosed`, or opens an inherited store,
so nothing has to check the state on the way to a read.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from copy import copy
from enum import Enum
from functools import partial
from threading import RLock, Thread
from typing import TYPE_CHECKING, ClassVar, Final, Protocol
from weakref import ref

from ...errors import FerroKVError, StoreBusy, StoreClosed, StoreReadOnly, StoreReplaced
from ...options import Options
from ...stats import Stats
from ..clock import Clock, SystemClock
from ..compaction.flush import flush
from ..compaction.holder import begin_compacting, end_compacting
from ..engine.engine import Engine, logger
from ..engine.removal import remove_waiting
from ..engine.space import rebuild
from ..log.commit import rotate
from ..log.writing import begin_writing
from ..opening.opening import open_engine
from ..storage.directory import Directory
from ..storage.drivers import complete
from ..storage.local import LocalStorage
from .background import Background
from .closed import ClosedWords
from .figures import stats_of
from .forks import in_child, notice
from .long_tasks import LongTasks
from .opening_errors import opening_error
from .owed_releases import OwedReleases
from .threads import may_run
from .waiters import WriterRequest
from .watch import Watch
from .writer import Writer

if TYPE_CHECKING:
    from .pool import Pool

INSIST_ATTEMPTS_MAX: Final = 100
EXIT_SECONDS: Final = 1.0


class Reopening(Protocol):
    """A handle that opens its store again if the directory is replaced."""

    def lose(self, store: Store) -> None:
        """The directory was removed or replaced. Any thread; must not block or raise."""


class StoreState(Enum):
    """What a store can be used for."""

    OPEN = "open"
    CLOSED = "closed"
    """Every use raises."""
    INHERITED = "inherited"
    """The parent's, in a forked child: the next use opens the directory for the child."""


PARTS: Final = ("storage", "engine", "long_tasks", "watch", "owed_releases", "_background", "_writer")


class Store:
    """Created by `open_store`."""

    retire_later: ClassVar[Callable[[Store], None]]
    """Has another thread shut down a store that was given up. Set by the registry."""
    storage: LocalStorage
    engine: Engine
    long_tasks: LongTasks
    watch: Watch
    owed_releases: OwedReleases
    _background: Background
    _writer: Writer

    def __init__(self, directory: Directory, options: Options) -> None:
        self.directory = directory
        self.options = options
        self.state = StoreState.CLOSED
        self.handles = 0  # owner: the registry's lock
        self.on_replaced: list[Callable[[], None]] = []  # called once if the directory turns out to be replaced
        # Handles that open again after a replacement, by their id. Only single operations, which are
        # atomic among threads.
        self.reopening: dict[int, ref[Reopening]] = {}
        self._why_closed: FerroKVError = StoreClosed("the store is closed; open it again")
        self._pid = os.getpid()
        self._pool: Pool | None = None
        self._pool_lock = RLock()

    if not TYPE_CHECKING:  # else it would hide misspelt names

        def __getattr__(self, name: str) -> object:
            """Return a part of a store that was not open a moment ago."""
            if name not in PARTS:
                raise AttributeError(name)
            self.require()
            part: object = self.__dict__.get(name)
            if part is None:  # another thread is closing it
                raise copy(self._why_closed)
            return part

    def require(self) -> None:
        """Open the store if it is inherited; raise if it is closed."""
        if self.state is StoreState.OPEN:
            return
        if self.state is StoreState.CLOSED:
            raise copy(self._why_closed)
        with _reviving:
            if self.state is StoreState.INHERITED:
                self.open()

    def open(self, clock: Clock | None = None) -> None:
        """Recover the directory, or attach to it beside other processes, and start the threads."""
        storage: LocalStorage | None = None
        writer: Writer | None = None
        background: Background | None = None
        before = self.state
        try:
            storage = LocalStorage(self.directory)
            engine = complete(open_engine(storage, self.options, clock or SystemClock()), storage)
            background = Background(engine)
            writer = Writer(engine, background.wake, background.help)
            owed = OwedReleases(self.submit)
            background.lookout.each_second = owed.retry
            self._pid = os.getpid()
            self._start(storage, writer, background)
            if self.state is not before:
                raise copy(self._why_closed)  # a destructor closed it meanwhile
        except BaseException as error:
            if writer is not None and background is not None:
                for step in (writer.go_without_thread, background.go_without_thread):
                    _uninterrupted(step)
            if storage is not None:
                storage.close()
            if isinstance(error, OSError) and not isinstance(error, FerroKVError):
                raise opening_error(self.directory, error) from error
            raise
        # Order: the state last. Other threads see the store only when all of it works.
        self.storage, self.engine, self._background, self._writer = storage, engine, background, writer
        self.watch, self.long_tasks, self.owed_releases = Watch(engine), LongTasks(), owed
        self.state = StoreState.OPEN

    def _drop_parts(self) -> None:
        for name in PARTS:
            self.__dict__.pop(name, None)

    def _start(self, storage: LocalStorage, writer: Writer, background: Background) -> None:
        """Start the threads, where they may run."""
        threads = may_run()
        if threads and not storage.read_only:
            writer.start()
        background.start(
            writer.memtables_flushed,
            writer.submit,
            writer.submit_first,
            self._given_up,
            threads=threads,
        )

    def go_without_threads(self) -> None:
        """Finish what is queued and end the threads, before the interpreter stops them.

        The store stays open, and callers do all work from then on. The next process finds it as
        after `shut_down`, except for the announcement, which is removed last (registry.py).
        """
        steps: tuple[Callable[[], None], ...] = (self._end_long_tasks, self._background.go_without_thread)
        if not self.storage.read_only:
            steps = (self._writer.go_without_thread, *steps, self._flush_at_exit)
        for step in steps:
            _uninterrupted(step)

    def _end_long_tasks(self) -> None:
        self.long_tasks.stop()
        self.long_tasks = LongTasks()

    def _flush_at_exit(self) -> None:
        # Other threads may keep writing and helping until the interpreter ends. One that waits for
        # room has the writer's turn and wants the background's, so do not wait for it indefinitely.
        self._background.exclusively(partial(self._writer.exclusively, self._flush_for_next_opening, EXIT_SECONDS))

    @property
    def pool(self) -> Pool:
        """Threads for reads that wait for the disk. Created when first needed."""
        self.require()
        with self._pool_lock:
            if self._pool is None:
                from .pool import Pool  # takes milliseconds to import, and few processes need it

                self._pool = Pool()
            return self._pool

    def attend(self) -> None:
        """Handle whatever `engine.ok_flag` signals.

        In a child forked without Python's hooks, the store becomes inherited. `StoreReplaced` if
        the directory was replaced.
        """
        if not notice() and self.state is StoreState.OPEN and self.is_replaced:
            self.announce_replacement()
            self.engine.check_usable()

    @property
    def is_replaced(self) -> bool:
        """True once the directory turned out not to be the one that was opened."""
        return isinstance(self.engine.failure, StoreReplaced)

    def _given_up(self) -> None:
        Store.retire_later(self)

    def announce_replacement(self) -> None:
        """Tell those who want to know that the directory was replaced. Safe to repeat."""
        on_replaced, self.on_replaced = self.on_replaced, []
        for call in on_replaced:
            call()
        for known in list(self.reopening.values()):
            handle = known()
            if handle is not None:
                handle.lose(self)

    def refuse_reentry(self) -> None:
        """Raise `StoreBusy` in a handler or destructor that interrupted its own thread's write."""
        if self.state is StoreState.OPEN and (self._writer.mine or self._background.mine):
            raise StoreBusy(
                "a signal handler or destructor cannot close the store in the middle of its own thread's write"
            )

    def owns_thread(self, thread: Thread) -> bool:
        """True for the store's own threads, where garbage collection may run any destructor."""
        if self.state is not StoreState.OPEN:
            return False
        return thread in (self._writer.thread, self._background.thread, self.watch.thread)

    def end_waiting(self, owner: object) -> None:
        """End the waits of a handle that is being closed, with `StoreClosed`."""
        if self.state is StoreState.OPEN:
            self.watch.end_for(owner)

    def submit(self, request: WriterRequest) -> None:
        """Queue a write."""
        self._check_writable()
        self._writer.submit(request)

    def serve(self, request: WriterRequest) -> None:
        """Do a write and wait for it; in this thread if nobody else is writing."""
        self._check_writable()
        if not self._writer.lead(request):
            lock = request.for_thread()
            self._writer.submit(request)
            lock.acquire()

    def submit_background(self, request: WriterRequest) -> None:
        """Queue a flush or compaction."""
        self._check_writable()
        self._background.submit(request)

    def _check_writable(self) -> None:
        # Check again: another thread of the child may have noticed first and reopened the
        # directory.
        if self._is_parents and not notice() and self.state is StoreState.OPEN and self._is_parents:
            raise StoreClosed("the parent process was closing the store when this process was forked; open it again")
        if not self.engine.ok_flag[0]:
            self.attend()
        if self.storage.read_only:
            raise StoreReadOnly("You can't write against a store that was opened to read only.")

    @property
    def _is_parents(self) -> bool:
        return os.getpid() != self._pid

    def stats(self) -> Stats:
        """Figures from memory, with a few file system calls to see which processes are alive."""
        self.attend()
        return stats_of(self.directory, self.storage, self.engine, self._writer.brake)

    def shut_down(self) -> None:
        """Finish queued writes, flush what is slow to replay, stop the threads, close the files.

        Blocks. Verifications and backups end with `StoreClosed`; those in the pool are waited for.
        """
        with _reviving:  # another thread may be opening what was inherited
            if self.state is not StoreState.OPEN:
                self.state = StoreState.CLOSED
                return
        interrupted = None
        writing = () if self.storage.read_only else (self._writer.stop,)
        stopping = (self.watch.stop, self.long_tasks.stop, *writing, self._background.stop)
        for step in (*stopping, self._flush_for_next_opening, self._stop_pool):
            interrupted = _uninterrupted(step) or interrupted
        for step in (self._leave_page, self.storage.close):
            interrupted = _uninterrupted(step) or interrupted
        if self.is_replaced:
            self._why_closed = StoreReplaced(f"{self.engine.failure}; open it again")
        # Order: the state first, so that a concurrent caller gets an answer or an error.
        self.state = StoreState.CLOSED
        self._drop_parts()
        self._pool, self.on_replaced, self.reopening = None, [], {}
        if interrupted is not None:
            raise interrupted

    def _leave_page(self) -> None:
        """Release the slot and let go of the control page, before the storage unmaps it.

        Snapshots end with the store, so tables kept for them can be removed, and open tables are
        closed.
        """
        engine = self.engine
        if self.is_replaced:  # the page and the names may belong to another store
            engine.pins.slot = None
        else:
            engine.pins.leave()
            complete(remove_waiting(engine), self.storage)
        engine.block_cache.files.shed()
        slot, engine.slot = engine.slot, None
        if slot is not None and not self.is_replaced:
            slot.release()  # only once: another process may take it next
        engine.words = ClosedWords()

    def _stop_pool(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True)

    def _flush_for_next_opening(self) -> None:
        """Flush.

        Requires the turns of writer and background. Failing costs the next opening milliseconds.
        """
        engine = self.engine
        unflushed = sum(memtable.wal_bytes for memtable in engine.view.memtables)
        if engine.storage.read_only or engine.failure is not None or unflushed < engine.options.memtable_bytes // 4:
            return
        try:
            if self.storage.attached():
                return  # other processes keep the store open
            begin_writing(engine, 0)
            rotate(engine)
            if complete(begin_compacting(engine, 0), self.storage):
                complete(flush(engine), self.storage)
                if engine.is_short:
                    complete(rebuild(engine), self.storage)
                end_compacting(engine)
        except (FerroKVError, OSError) as error:
            logger.warning("cannot flush while closing: %s", str(error))
        finally:
            with suppress(OSError):  # closing the descriptors releases the locks, too
                engine.unlock_compact()
                engine.unlock_write()

    def leave_to_parent(self) -> None:
        """In a forked child: close copies of descriptors, unlock nothing, reopen on next use."""
        if self.state is StoreState.CLOSED:
            return
        if self.state is StoreState.OPEN:
            self.storage.abandon()
        self._pool, self._pool_lock = None, RLock()
        # Order: the state first, so that a concurrent caller gets an answer.
        self.state = StoreState.INHERITED
        self._drop_parts()  # also if the parent was in the middle of opening it


_reviving = RLock()


def _renew_in_child() -> None:
    global _reviving
    _reviving = RLock()  # another thread of the parent may hold it


in_child(_renew_in_child)


def _uninterrupted(step: Callable[[], None]) -> BaseException | None:
    """Repeat a step of closing until no signal handler interrupts it.

    Returns the interrupting exception, to be raised when everything is done. If a directory's lock
    were released while a thread still writes, another process could open it too early.
    """
    interrupted: BaseException | None = None
    for _ in range(INSIST_ATTEMPTS_MAX):
        try:
            step()
        except BaseException as error:  # noqa: BLE001 - raised again by the caller
            interrupted = error
        else:
            break
    return interrupted
