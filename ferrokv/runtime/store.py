"""One open directory in one process: engine, threads and locks, shared by every handle on it."""

from __future__ import annotations

from collections.abc import Callable
from threading import RLock, Thread
from typing import TYPE_CHECKING, Final

from ..engine.clock import Clock, SystemClock
from ..engine.commit import rotate
from ..engine.engine import NO_SPACE, Engine, logger
from ..engine.flush import flush
from ..engine.recovery import recover
from ..errors import FerroKVError, StoreBusy, StoreClosed, StoreFull, StorePathError
from ..options import Options
from ..stats import LevelStats, Stats
from ..storage.directory import Directory
from ..storage.drivers import complete
from ..storage.local import LocalStorage
from .background import Background
from .waiters import Request
from .writer import Writer

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

POOL_THREADS: Final = 4
INSIST_ATTEMPTS_MAX: Final = 100


class Store:
    """Made by `open_store`. `engine` raises `StoreClosed` once the store is closed or was left behind by a fork."""

    def __init__(self, directory: Directory, storage: LocalStorage, engine: Engine) -> None:
        self.directory = directory
        self.storage = storage
        self.options = engine.options
        self.engine = engine
        self.handles = 0  # owner: the registry's lock
        self._background = Background(engine)
        self._writer = Writer(engine, self._background.wake)
        self._pool: ThreadPoolExecutor | None = None
        self._pool_lock = RLock()

    def start(self) -> None:
        """Start the threads."""
        self._writer.start()
        self._background.start(self._writer.memtables_flushed)

    @property
    def pool(self) -> ThreadPoolExecutor:
        """Threads for reads that have to wait for the disk; made when first needed."""
        with self._pool_lock:
            if self._pool is None:
                from concurrent.futures import ThreadPoolExecutor  # takes milliseconds, and few processes need it

                self._pool = ThreadPoolExecutor(POOL_THREADS, thread_name_prefix="ferrokv-io")
            return self._pool

    def refuse_reentry(self) -> None:
        """`StoreBusy` for a signal handler or destructor that came in the middle of a write by its own thread."""
        if self._writer.mine:
            raise StoreBusy(
                "a signal handler or destructor can not close the store in the middle of a write by its own thread"
            )

    def owns_thread(self, thread: Thread) -> bool:
        """True for the store's own threads, in which the garbage collector may run somebody's destructor."""
        return thread in (self._writer.thread, self._background.thread)

    def submit(self, request: Request) -> None:
        """Queue a write."""
        self._writer.submit(request)

    def serve(self, request: Request) -> None:
        """Have a write done and wait for it: in this thread when nobody else is writing."""
        if not self._writer.lead(request):
            lock = request.for_thread()
            self._writer.submit(request)
            lock.acquire()

    def submit_background(self, request: Request) -> None:
        """Queue a flush or compaction."""
        self._background.submit(request)

    def stats(self) -> Stats:
        """Numbers from memory; no I/O."""
        engine = self.engine
        view = engine.view
        counters = engine.counters
        levels = tuple(
            LevelStats(
                len(tables),
                sum(table.meta.file_bytes for table in tables),
                sum(table.meta.records for table in tables),
                sum(table.meta.tombstones for table in tables),
            )
            for tables in view.version.levels
        )
        return Stats(
            path=self.directory.path,
            store_id=engine.store_id.hex(),
            file_system=self.directory.file_system,
            durable=self.directory.durable,
            failed=None if engine.failure is None else str(engine.failure),
            seqno=view.active.seqno,
            keyspaces=tuple(sorted(view.catalogue.prefixes)),
            wal_number=view.active.number,
            wal_bytes=engine.wal.position.end,
            memtable_records=len(view.active.entries),
            sealed_memtables=len(view.sealed),
            levels=levels,
            commits=counters.commits,
            records_written=counters.records,
            rotations=counters.rotations,
            flushes=counters.flushes,
            compactions=counters.compactions,
            tables_dropped_unread=counters.tables_dropped_unread,
            records_expired=counters.records_expired,
        )

    def shut_down(self) -> None:
        """Finish queued writes, flush what would take long to replay, stop the threads, release the directory. Blocks."""
        interrupted = None
        for step in (self._writer.stop, self._background.stop, self._flush_for_next_opening, self._stop_pool):
            interrupted = _insist(step) or interrupted
        self.abandon("the store is closed")
        if interrupted is not None:
            raise interrupted

    def _stop_pool(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True)

    def _flush_for_next_opening(self) -> None:
        """The threads have ended, so this one owns everything. A failure costs the next opening some milliseconds."""
        engine = self.engine
        unflushed = sum(memtable.wal_bytes for memtable in (engine.view.active, *engine.view.sealed))
        if engine.failure is not None or unflushed < engine.options.memtable_bytes // 4:
            return
        try:
            complete(rotate(engine), self.storage)
            complete(flush(engine), self.storage)
        except FerroKVError as error:
            logger.warning("could not flush at closing: %s", error)

    def abandon(self, why: str) -> None:
        """Let go of descriptors without touching what the parent of a fork holds, and make every use raise."""
        self.storage.close()
        closed = ClosedStore(why)
        self.__class__ = ClosedStore  # type: ignore[assignment]
        self.__dict__.clear()
        self.__dict__.update(closed.__dict__)


class ClosedStore:
    """What a store, or the store of a closed handle, turns into: every use raises `StoreClosed`."""

    why = "the store is closed"

    def __init__(self, why: str) -> None:
        self.why = why

    def __getattr__(self, name: str) -> object:
        raise StoreClosed(f"{self.why}; open it again")


def _insist(step: Callable[[], None]) -> BaseException | None:
    """Repeat a step of closing until no signal handler interrupts it; what interrupted, to be raised when all is done.

    A directory whose lock is released while a thread still writes would be open to another process too early.
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


def make_store(directory: Directory, options: Options, clock: Clock | None = None) -> Store:
    """Lock and recover the directory, and start. `StoreBusy` at once if another process has it open."""
    storage = LocalStorage(directory)
    try:
        if not storage.try_lock("presence"):
            raise StoreBusy(f"another process has the store open: path={directory.path}")
        engine = complete(recover(storage, options, clock or SystemClock()), storage)
        store = Store(directory, storage, engine)
        store.start()
    except OSError as error:
        storage.close()
        if error.errno in NO_SPACE:
            raise StoreFull(f"no space to open the store: path={directory.path} reason={error.strerror}") from error
        if isinstance(error, StorePathError):
            raise
        raise StorePathError(f"the store can not be opened: path={directory.path} reason={error.strerror}") from error
    except BaseException:
        storage.close()
        raise
    return store
