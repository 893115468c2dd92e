"""The engine's state, and the few steps that publish a new view. Who may change what stands beside each attribute.

The engine knows no threads of its own and no event loop: `runtime/` drives it, and a test can step it request by
request.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterable
from threading import Lock
from typing import Final

from ..errors import StoreFailed, StoreFull
from ..format.control import POISON
from ..format.logs import LogHeader, Position
from ..options import Options
from ..storage.requests import File, Storage, Words
from .clock import Clock
from .manifest import Manifest
from .memtable import Memtable
from .table import BlockCache, Table
from .version import Version
from .view import Catalogue, View

logger = logging.getLogger("ferrokv.engine")

NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
# After compaction may drop what expired this long ago: clocks of two boots may disagree by minutes.
EXPIRY_GRACE_MS: Final = 600_000


class Wal:
    """The log that commits go to. Owner: the writer."""

    __slots__ = ("doubtful", "file", "header", "position")

    def __init__(self, file: File, header: LogHeader, position: Position) -> None:
        self.file = file
        self.header = header
        self.position = position
        self.doubtful = False  # its tail is uncertain: rotate before the next commit


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


class Engine:
    """One open store."""

    def __init__(
        self,
        storage: Storage,
        options: Options,
        clock: Clock,
        store_id: bytes,
        words: Words,
        wal: Wal,
        manifest: Manifest,
        view: View,
        block_cache: BlockCache,
    ) -> None:
        self.storage = storage
        self.options = options
        self.clock = clock
        self.store_id = store_id
        self.words = words  # of the control page
        self.wal = wal  # owner: the writer
        self.manifest = manifest  # owner: background
        self.view = view  # replaced under `_publishing`
        self.block_cache = block_cache
        self.counters = Counters()
        self.failure: StoreFailed | None = None
        self.orphans: list[str] = []  # files to remove after the next manifest roll; owner: background
        self.compaction_cursors: dict[int, bytes] = {}  # level -> where to go on; owner: background
        self._publishing = Lock()

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

    def check_usable(self) -> None:
        """Raise what poisoned the store, if something did."""
        if self.failure is not None:
            raise StoreFailed(*self.failure.args) from self.failure

    def write_error(self, what: str, error: OSError) -> StoreFull | StoreFailed:
        """The error for a failed write: `StoreFull` leaves the store usable, anything else poisons it."""
        if error.errno in NO_SPACE:
            return StoreFull(f"{what} found no space: errno={error.errno} reason={error.strerror}")
        return self.poison(what, error)

    def publish_rotation(self, active: Memtable) -> None:
        """Seal the active memtable and put an empty one before it."""
        with self._publishing:
            old = self.view
            sealed = (old.active, *old.sealed)
            self.view = View(active, sealed, old.version, old.catalogue, old.hot)

    def publish_catalogue(self, catalogue: Catalogue) -> None:
        """Make new keyspace ids visible."""
        with self._publishing:
            old = self.view
            self.view = View(old.active, old.sealed, old.version, catalogue, old.hot)

    def publish_tables(
        self, added: Iterable[Table], removed: Iterable[int], flushed: Iterable[Memtable] = ()
    ) -> Version:
        """Install tables, drop others, and drop the memtables that the added ones replace. The new version."""
        gone = {memtable.number for memtable in flushed}
        with self._publishing:
            old = self.view
            hot = old.hot
            if gone:
                # Order: in the same step in which the memtables stop hiding them, their keys leave the hot records.
                hot = hot.without(key for memtable in flushed for key in memtable.entries)
            sealed = tuple(memtable for memtable in old.sealed if memtable.number not in gone)
            version = old.version.changed(added, removed)
            self.view = View(old.active, sealed, version, old.catalogue, hot)
            return version
