"""The engine's state, and the few steps that publish a new view. Who may change what stands beside each attribute.

The engine knows no threads of its own and no event loop: `runtime/` drives it, and a test can step it request by
request.
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
from ..clock import Belief, Clock, look
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
from .wakeups import Waited

logger = logging.getLogger("ferrokv.engine")

# Compaction may drop what had expired for so long at `certain_ms`: clocks of two boots may disagree by minutes.
EXPIRY_GRACE_MS: Final = 600_000


class Wal:
    """The newest WAL that this process knows, and how far it has followed it. Owner: the engine's lock."""

    __slots__ = ("allocated", "file", "header", "position")

    def __init__(self, file: File, header: LogHeader, position: Position, allocated: int = 0) -> None:
        self.file = file
        self.header = header
        self.position = position
        # How far its space is known to be reserved. Owner: the holder of the write lock.
        self.allocated = allocated


class Pending(NamedTuple):
    """A commit that is in the WAL, but perhaps not durable: transactions see it, readers do not."""

    entries: dict[bytes, Entry]
    after: Position
    catalogue: Catalogue


class Counters:
    """What happened since opening. Owners: the writer (commits, records), background (the rest)."""

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
    """One process's replica of one store: what it knows of the WAL and the tables, and the words that say what is new."""

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
        self.slot: Slot | None = None  # None for a replica that only reads. Owner: opening and closing
        self.pins = Pins(storage.process_id)
        self.steady = storage.raise_flag()  # item 0 is 0 when something has to be looked at before a read: after a fork
        self.process_id = storage.process_id()
        self.generation: int | None = None  # of the page, from the first look on; owner: as of `manifest_floor`
        self.manifest_floor = (
            0  # CURRENT never names an older manifest; owner: the thread that looks (same_directory.py)
        )
        self.distrusted: tuple[int, int] | None = None  # GENERATION and COMMIT of a page that does not fit the files
        self.wal = wal  # owner: `lock`
        self.view = view  # replaced under `lock`
        # COMMIT as far as it was followed; owner: `lock`
        self.seen = pack_position(wal.position.number, wal.position.end)
        self.seen_version = seen_version  # VERSION that the tables belong to; owner: `lock`
        self.pending: list[Pending] = []  # commits behind the followed position, in order; owner: `lock`
        self.waited = Waited()  # who waits for which keys; owner: `lock`
        self.block_cache = block_cache
        self.counters = Counters()
        self.failure: StoreFailed | None = None
        self.compactor = Compactor()  # owner: the holder of the compact lock
        self.rotated: Callable[[], None] = lambda: None  # called after a memtable was sealed, here or elsewhere
        self.ran_short: Callable[[], None] = lambda: None  # called when the disk is full, or may give something back
        self.page_is_kept = True  # False: read only, and no living process is known that keeps the control page
        # Held for moments, never across I/O. Re-entrant so that a signal handler's re-entry can be told.
        self.lock = RLock()
        self.is_mine: Callable[[], bool] = self.lock._is_owned  # type: ignore[attr-defined]
        self.unlock_write = _nothing if storage.read_only else storage.unlocker("write")
        self.unlock_sync = _nothing if storage.read_only else storage.unlocker("sync")
        self.unlock_compact = _nothing if storage.read_only else storage.unlocker("compact")

    @property
    def appended(self) -> Position:
        """Where the next frame goes, as far as this process knows. Under `lock`, or by the holder of the write lock."""
        return self.pending[-1].after if self.pending else self.wal.position

    @property
    def compactor_pid(self) -> int:
        """The process that holds the compact lock, or died with it; 0 when nobody does."""
        return self.words[COMPACTOR]

    @property
    def level0_tables(self) -> int:
        """The number of tables in level 0, as the last compactor of any process left it."""
        return self.words[LEVEL0]

    @property
    def compaction_score(self) -> float:
        """How full the fullest level is with what is on its way there, 1.0 for full, as the last compactor left it."""
        return self.words[SCORE] / SCORE_UNIT

    @property
    def damaged_tables(self) -> int:
        """The number of tables that the last compactor of any process could not read."""
        return self.words[DAMAGED]

    def certain_ms(self) -> int:
        """A moment that has passed beyond doubt, in ms since 1970, by the one belief of all processes (clock.py).

        Only for the holder of the compact lock, or who is alone.
        """
        words = self.words
        known = Belief(*(words[index] for index in CLOCK))
        moment, belief = look(self.clock, known)
        if belief != known:
            for index, word in zip(CLOCK, belief, strict=True):
                words[index] = word
        return moment

    def passed_ms(self) -> int:
        """As `certain_ms`, for anybody; 0 as long as there is no belief."""
        known = Belief(*(self.words[index] for index in CLOCK))
        return look(self.clock, known)[0] if known.offset else 0

    @property
    def is_short(self) -> bool:
        """True while the disk is full and the store, in whichever process, takes only deletions (space.py)."""
        return self.words[SHORT] != 0

    def poison(self, what: str, error: OSError) -> StoreFailed:
        """Stop all writes for good: after this failure nobody knows what is on disk. Returns the error to raise."""
        if self.failure is None:
            self.failure = StoreFailed(
                f"{what} failed, so the store takes no more writes until it is reopened: "
                f"errno={error.errno} reason={error.strerror}"
            )
            self.words[POISON] = 1
            logger.error("store poisoned: %s", self.failure)
        return self.failure

    def give_up(self, why: str) -> StoreReplaced:
        """Neither read nor write any more: the directory is not the one that was opened. Returns the error to raise."""
        if isinstance(self.failure, StoreReplaced):
            return self.failure
        error = StoreReplaced(f"the store's directory changed while it was open, so it has to be opened again: {why}")
        self.failure = error
        self.steady[0] = 0
        logger.error("store given up: %s", error)
        self.rotated()
        return error

    def check_usable(self) -> None:
        """Raise what poisoned the store, if something did, in whichever process."""
        if self.failure is None and self.words[POISON]:
            self.failure = StoreFailed(
                "a sync failed in another process, so the store takes no more writes until every process has closed it"
            )
        if self.failure is not None:
            raise type(self.failure)(*self.failure.args) from self.failure

    def write_error(self, what: str, error: OSError) -> StoreFull | StoreBusy | StoreFailed:
        """The error for a failed write: `StoreFull` and `StoreBusy` leave the store usable, anything else poisons it."""
        if error.errno in NO_SPACE:
            return StoreFull(f"{what} found no space: errno={error.errno} reason={error.strerror}")
        if error.errno in NO_DESCRIPTORS:
            return StoreBusy(f"{what} found no free file descriptor: errno={error.errno} reason={error.strerror}")
        return self.poison(what, error)

    def run_short(self) -> None:
        """The disk is full: from now on only what deletes is written, until the reserve is whole and there is room again."""
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
        # Order: before the position moves, so that showing it again after an interruption wakes again.
        if self.waited.armed:
            if is_moved:
                self.waited.move(catalogue)
            self.waited.show(entries)
        self.wal.position = after
        self.seen = pack_position(after.number, after.end)
        self.drop_pending()

    def show_pending(self, commit: int) -> None:
        """Show those of the pending commits that COMMIT covers. Under `lock`. May be repeated."""
        pending = self.pending
        while pending:
            entries, after, catalogue = pending[0]
            word = pack_position(after.number, after.end)
            if word != commit and not is_reached(commit, word):
                return
            if after[:2] > self.wal.position[:2]:
                self.show_commit(entries, after, catalogue)
            else:
                del pending[0]  # a reader has followed it, or loaded everything anew

    def add_pending(self, commit: Pending) -> None:
        """Know of one more commit behind the last one, unless it was shown already. Under `lock`."""
        if commit.after[:2] > self.appended[:2]:
            self.pending.append(commit)

    def drop_pending(self) -> None:
        """Forget commits that are in the view: a reader may have followed them, or loaded everything anew. Under `lock`."""
        known = self.wal.position[:2]
        while self.pending and self.pending[0].after[:2] <= known:
            del self.pending[0]

    def show_rotation(self, wal: Wal) -> None:
        """Seal the active memtable and go on with that of `wal`. Under `lock`. May be repeated."""
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
            # Order: in the same step in which the memtables stop hiding them, their keys leave the hot records.
            hot = hot.without(key for memtable in flushed for key in memtable.entries)
        sealed = tuple(memtable for memtable in old.sealed if memtable.number not in gone)
        self.view = View(old.active, sealed, version, old.catalogue, hot)
        self.seen_version = version_word
        self.block_cache.files.forget(old.version.numbers - version.numbers)

    def install_tables(
        self, added: Iterable[Table], removed: Iterable[int], flushed: Sequence[Memtable], version_word: int
    ) -> None:
        """Change the tables of the view by an edit of this process."""
        with self.lock:
            self.show_tables(self.view.version.changed(added, removed), version_word, flushed)


def named(error: OSError, what: str) -> FerroKVError:
    """The error of a request that only read or asked, by a name of ours; one that has its name stays what it is."""
    if isinstance(error, FerroKVError):
        return error
    if error.errno in NO_DESCRIPTORS:
        return StoreBusy(f"{what} found no free file descriptor: reason={error.strerror}")
    if error.errno == errno.EBADF:
        return StoreClosed("the store was closed meanwhile")
    return StorePathError(error.errno, f"{what} failed: reason={error.strerror}", error.filename)


def _nothing() -> None:
    """A read-only replica holds no locks."""
