"""The state of one store in one process, and the few steps that publish a new view.

A comment beside each attribute says who may change it. The engine has no threads and no event loop
of its own: `runtime/` drives it, and a test can step it request by request.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Iterable, Sequence
from threading import RLock
from typing import Final, NamedTuple

from ...errors import (
    FerroKVError,
    StoreBusy,
    StoreClosed,
    StoreFailed,
    StoreFull,
    StorePathError,
    StoreReplaced,
)
from ...options import Options
from ..clock import Belief, Clock, read_clock
from ..format.commits import Entry
from ..format.control import (
    CLOCK,
    COMPACTOR,
    DAMAGED,
    LEVEL0,
    POISON,
    SCORE,
    SCORE_UNIT,
    SHORT,
    is_reached,
    pack_position,
)
from ..format.logs import LogHeader, Position
from ..storage.descriptors import NO_DESCRIPTORS as NO_DESCRIPTORS
from ..storage.requests import File, Storage, Words
from ..tree.lookups import BlockCache
from ..tree.memtable import Memtable
from ..tree.table import Table
from ..tree.version import Version
from ..tree.view import Catalogue, View
from .compactor import Compactor
from .slots import Pins, Slot
from .spares import NO_SPACE as NO_SPACE
from .wakeups import WaiterIndex

logger = logging.getLogger("ferrokv.engine")

# Compaction may drop a record that expired this long before `certain_ms`, since the clocks of two
# boots may differ by minutes.
EXPIRY_GRACE_MS: Final = 600_000


class Wal:
    """The newest WAL that this process knows of, and how far it has followed it.

    Owner: the engine's lock.
    """

    __slots__ = ("allocated", "file", "header", "position")

    def __init__(self, file: File, header: LogHeader, position: Position, allocated: int = 0) -> None:
        self.file = file
        self.header = header
        self.position = position
        # Up to where its disk space is known to be reserved. Owner: the holder of the write lock.
        self.allocated = allocated


class Pending(NamedTuple):
    """A commit that is in the WAL but may not be durable yet.

    Transactions see it, readers do not.
    """

    entries: dict[bytes, Entry]
    after: Position
    catalogue: Catalogue


class Counters:
    """Counts since opening.

    Owners: the writer (commits, records), the background thread (the rest).
    """

    def __init__(self) -> None:
        self.commits = 0
        self.records = 0
        self.rotations = 0
        self.flushes = 0
        self.compactions = 0
        self.tables_dropped_unread = 0
        self.records_expired = 0
        self.evicted = 0


class Engine:
    """One process's replica of a store: its view, its place in the WAL, and the control page."""

    def __init__(
        self,
        storage: Storage,
        options: Options,
        clock: Clock,
        store_id: bytes,
        words: Words,
        wal: Wal,
        view: View,
        block_cache: BlockCache,
        seen_version: int = 0,
    ) -> None:
        self.storage = storage
        self.options = options
        self.clock = clock
        self.store_id = store_id
        self.words = words  # of the control page
        self.slot: Slot | None = None  # None for a read-only replica. Owner: opening and closing
        self.pins = Pins(storage.process_id)
        self.ok_flag = storage.raise_flag()  # item 0 is 0 if reads must check something first, as after a fork
        self.process_id = storage.process_id()
        self.generation: int | None = None  # of the page, once it was checked; owner: as for `manifest_floor`
        self.manifest_floor = (
            0  # number of the newest manifest seen; owner: the thread that checks the directory (same_directory.py)
        )
        self.distrusted: tuple[int, int] | None = None  # GENERATION and COMMIT of a page that does not fit the files
        self.wal = wal  # owner: `lock`
        self.view = view  # replaced under `lock`
        # The COMMIT word up to which this process has followed the WAL; owner: `lock`
        self.seen = pack_position(wal.position.number, wal.position.end)
        self.seen_version = seen_version  # the VERSION of the view's tables; owner: `lock`
        self.pending: list[Pending] = []  # commits after the followed position, in order; owner: `lock`
        self.waiters = WaiterIndex()  # waiters of this process; owner: `lock`
        self.block_cache = block_cache
        self.counters = Counters()
        self.failure: StoreFailed | None = None
        self.compactor = Compactor()  # owner: the holder of the compact lock
        self.rotated: Callable[[], None] = lambda: None  # called when this or another process has sealed a memtable
        self.ran_short: Callable[[], None] = lambda: None  # called when the disk is full, or space may become free
        self.page_is_kept = True  # False: read-only, and no living process keeps the control page up to date
        # Held briefly, never across I/O. Re-entrant, so that re-entry by a signal handler can be
        # detected.
        self.lock = RLock()
        self.is_mine: Callable[[], bool] = self.lock._is_owned  # type: ignore[attr-defined]
        self.unlock_write = _nothing if storage.read_only else storage.unlocker("write")
        self.unlock_sync = _nothing if storage.read_only else storage.unlocker("sync")
        self.unlock_compact = _nothing if storage.read_only else storage.unlocker("compact")

    @property
    def appended(self) -> Position:
        """Where the next frame goes, as far as this process knows.

        Under `lock`, or with the write lock held.
        """
        return self.pending[-1].after if self.pending else self.wal.position

    @property
    def compactor_pid(self) -> int:
        """The pid of the process that holds the compact lock, or died with it; 0 if there is none."""
        return self.words[COMPACTOR]

    @property
    def level0_tables(self) -> int:
        """The number of tables in level 0, as the last compactor of any process left it."""
        return self.words[LEVEL0]

    @property
    def compaction_score(self) -> float:
        """How full the fullest level is, including what is on its way there; 1.0 is full.

        This is what the last compactor of any process announced.
        """
        return self.words[SCORE] / SCORE_UNIT

    @property
    def damaged_tables(self) -> int:
        """The number of tables that the last compactor of any process could not read."""
        return self.words[DAMAGED]

    def certain_ms(self) -> int:
        """Return the certain moment, in ms since 1970, and update the shared belief (clock.py).

        Only for the holder of the compact lock, or for a process that is alone.
        """
        words = self.words
        known = Belief(*(words[index] for index in CLOCK))
        moment, belief = read_clock(self.clock, known)
        if belief != known:
            for index, word in zip(CLOCK, belief, strict=True):
                words[index] = word
        return moment

    def passed_ms(self) -> int:
        """Return the certain moment without updating the belief; 0 if there is none yet.

        For any process.
        """
        known = Belief(*(self.words[index] for index in CLOCK))
        return read_clock(self.clock, known)[0] if known.offset else 0

    @property
    def is_short(self) -> bool:
        """True while the disk is full and the store takes only deletions (space.py)."""
        return self.words[SHORT] != 0

    def poison(self, what: str, error: OSError) -> StoreFailed:
        """Stop all writes until the store is reopened, since it is unknown what is on disk now.

        Returns the error to raise.
        """
        if self.failure is None:
            self.failure = StoreFailed(
                f"{what} failed, so the store takes no more writes until it is reopened: "
                f"errno={error.errno} reason={error.strerror}"
            )
            self.words[POISON] = 1
            logger.error("store poisoned: %s", self.failure)
        return self.failure

    def give_up(self, why: str) -> StoreReplaced:
        """Stop all reads and writes, since the directory is not the one that was opened any more.

        Returns the error to raise.
        """
        if isinstance(self.failure, StoreReplaced):
            return self.failure
        error = StoreReplaced(f"the store's directory changed while it was open, so it must be opened again: {why}")
        self.failure = error
        self.ok_flag[0] = 0
        logger.error("store given up: %s", error)
        self.rotated()
        return error

    def check_usable(self) -> None:
        """Raise the error that stopped the store, if there was one, in this process or another."""
        if self.failure is None and self.words[POISON]:
            self.failure = StoreFailed(
                "a sync failed in another process, so the store takes no more writes until every process has closed it"
            )
        if self.failure is not None:
            raise type(self.failure)(*self.failure.args) from self.failure

    def write_error(self, what: str, error: OSError) -> StoreFull | StoreBusy | StoreFailed:
        """Return the error for a failed write.

        `StoreFull` and `StoreBusy` leave the store usable; any other error poisons it.
        """
        if error.errno in NO_SPACE:
            return StoreFull(f"{what} found no space: errno={error.errno} reason={error.strerror}")
        if error.errno in NO_DESCRIPTORS:
            return StoreBusy(f"{what} found no free file descriptor: errno={error.errno} reason={error.strerror}")
        return self.poison(what, error)

    def run_short(self) -> None:
        """Note that the disk is full.

        Only deletions are written until the reserve is complete and there is room again.
        """
        if not self.words[SHORT]:
            self.words[SHORT] = 1
            logger.warning("the disk is full: the store takes only deletions until there is room again")
            self.ran_short()

    def show_commit(self, entries: dict[bytes, Entry], after: Position, catalogue: Catalogue) -> None:
        """Make one durable commit visible. Under `lock`. May be repeated."""
        active = self.view.active
        active.apply(entries, after.seqno)
        active.wal_bytes = after.end
        is_moved = catalogue is not self.view.catalogue
        if is_moved:
            old = self.view
            self.view = View(old.active, old.sealed, old.version, catalogue, old.hot)
        # Order: wake before the position moves. If an exception interrupts this, the commit is
        # shown again, and then wakes those that were not woken.
        if self.waiters.armed:
            if is_moved:
                self.waiters.move(catalogue)
            self.waiters.show(entries)
        self.wal.position = after
        self.seen = pack_position(after.number, after.end)
        self.drop_pending()

    def show_pending(self, commit: int) -> None:
        """Show the pending commits that COMMIT covers. Under `lock`. May be repeated."""
        pending = self.pending
        while pending:
            entries, after, catalogue = pending[0]
            word = pack_position(after.number, after.end)
            if word != commit and not is_reached(commit, word):
                return
            if after[:2] > self.wal.position[:2]:
                self.show_commit(entries, after, catalogue)
            else:
                del pending[0]  # another thread has shown it, by following the WAL or loading everything again

    def add_pending(self, commit: Pending) -> None:
        """Add a commit after the last pending one, unless it was shown already. Under `lock`."""
        if commit.after[:2] > self.appended[:2]:
            self.pending.append(commit)

    def drop_pending(self) -> None:
        """Remove pending commits that are in the view already. Under `lock`.

        Another thread may have followed them in the WAL, or loaded everything again.
        """
        known = self.wal.position[:2]
        while self.pending and self.pending[0].after[:2] <= known:
            del self.pending[0]

    def show_rotation(self, wal: Wal) -> None:
        """Seal the active memtable, and go on with a new one for `wal`.

        Under `lock`. May be repeated.
        """
        old = self.view
        if old.active.number != wal.position.number:
            active = Memtable(wal.position.number, wal.position.seqno)
            self.view = View(active, (old.active, *old.sealed), old.version, old.catalogue, old.hot)
        self.wal = wal
        self.pending = []
        self.seen = pack_position(wal.position.number, wal.position.end)

    def show_tables(self, version: Version, version_word: int, flushed: Sequence[Memtable]) -> None:
        """Install a version that replaces the `flushed` memtables. Under `lock`."""
        gone = {memtable.number for memtable in flushed}
        old = self.view
        hot = old.hot
        if gone:
            # Order: one step drops the memtables and removes their keys from the hot records, which
            # would be stale without the memtables that hide them.
            hot = hot.without(key for memtable in flushed for key in memtable.entries)
        sealed = tuple(memtable for memtable in old.sealed if memtable.number not in gone)
        self.view = View(old.active, sealed, version, old.catalogue, hot)
        self.seen_version = version_word
        self.block_cache.files.forget(old.version.numbers - version.numbers)

    def install_tables(
        self, added: Iterable[Table], removed: Iterable[int], flushed: Sequence[Memtable], version_word: int
    ) -> None:
        """Change the tables of the view by an edit that this process has made."""
        with self.lock:
            self.show_tables(self.view.version.changed(added, removed), version_word, flushed)


def named(error: OSError, what: str) -> FerroKVError:
    """Return the `FerroKVError` for a request that failed without writing anything.

    An error that is one already is returned as it is.
    """
    if isinstance(error, FerroKVError):
        return error
    if error.errno in NO_DESCRIPTORS:
        return StoreBusy(f"{what} found no free file descriptor: reason={error.strerror}")
    if error.errno == errno.EBADF:
        return StoreClosed("the store was closed meanwhile")
    return StorePathError(error.errno, f"{what} failed: reason={error.strerror}", error.filename)


def _nothing() -> None:
    """Release nothing: a read-only replica holds no locks."""
