"""The block cache: blocks, filters and indexes of tables in memory, under one bound.

A filter saves reading an index and a block of a table that does not have the key, and an index is
needed to read any block. So filters and indexes come first. Together they may take three quarters
of the bound, and blocks get the rest.

If filters and indexes do not fit, the indexes that are used least are evicted first. The summary of
an index, a tenth of its size, stays behind and finds a block with three short reads. Only then are
filters and summaries evicted. Those of the table that was read last always stay, however large they
are; otherwise a table whose filter is larger than the bound would read its filter again for each
key.

Eviction is by the clock algorithm (second chance): each use of a part sets a flag. The clock hand
clears a flag that is set and goes on, and evicts a part whose flag is clear.
"""

from __future__ import annotations

from array import array
from collections import deque
from threading import Lock
from typing import Final

from ...options import Options
from ..format.table_formats import V1
from ..format.tables import BlockIndex, IndexSummary
from ..storage.requests import Storage
from .cache import GenerationalCache
from .files import TableFiles, files_max

BLOCK_OVERHEAD: Final = 150  # bytes for each cached block: the object, its key and its entry in a dict
ARRAY_OVERHEAD: Final = 80
KEY_OVERHEAD: Final = 57  # bytes for each key in a list: the object's header, rounded up, and the pointer
SEARCHES_SLOW: Final = 512  # after so many searches, a list of the keys is worth its memory
SEARCHES_EACH_LOAD: Final = 8  # reading a whole index, as a scan does, costs as much as so many searches
SEARCHES_APART: Final = 64  # after so many searches by its summary, an index may displace another one
LOOKUPS_SHARE: Final = 0.75


class Lookup:
    """The filter and index of one table, as far as they are in memory.

    Any thread may load and store its attributes, one at a time.
    """

    __slots__ = (
        "filter_used",
        "format",
        "found",
        "index",
        "index_bytes",
        "index_used",
        "keys",
        "keys_bytes",
        "places",
        "searches",
        "summary",
        "words",
    )

    def __init__(self) -> None:
        self.words: array[int] | None = None
        self.summary: IndexSummary | None = None
        self.index: BlockIndex | None = None
        # The last keys of the blocks again, as objects: takes twice the memory, searches in a third
        # of the time.
        self.keys: list[bytes] | None = None
        self.places: tuple[int, int] | None = None  # offsets of filter and index
        self.format = V1  # of the table; valid once `places` is set
        self.found: tuple[bytes, int] | None = None  # the last key that was searched for, and its block
        self.index_bytes = 0  # size of the index; kept when the index is evicted
        self.keys_bytes = 0
        self.searches = 0  # since the index was loaded or evicted
        self.filter_used = False  # the clock's flag of filter and summary
        self.index_used = False


Part = array | BlockIndex | IndexSummary | None  # type: ignore[type-arg]
"""A part of a table to keep. None asks for a list of the keys, which is made from the index."""


class BlockCache(GenerationalCache[int, bytes]):
    """The cached blocks, and the accounts of the filters, indexes and open files of all tables."""

    __slots__ = (
        "_bytes_max",
        "_changes",
        "_filter_bytes",
        "_filters",
        "_gate",
        "_index_bytes",
        "_indexes",
        "_limit",
        "files",
    )

    def __init__(self, bytes_max: int, files: TableFiles) -> None:
        super().__init__(bytes_max, _block_bytes)
        self.files = files
        self._bytes_max = bytes_max
        self._limit = int(bytes_max * LOOKUPS_SHARE)
        self._filter_bytes = 0  # owner: the gate, as for the three below
        self._index_bytes = 0
        self._filters: deque[Lookup] = deque()
        self._indexes: deque[Lookup] = deque()
        self._changes: deque[tuple[Lookup, Part]] = deque()
        self._gate = Lock()  # only ever tried, never waited for

    @property
    def lookup_bytes(self) -> int:
        """The memory that filters and indexes take."""
        return self._filter_bytes + self._index_bytes

    def has_room(self, lookup: Lookup) -> bool:
        """Return True if the index of a table may be kept.

        Either it fits beside the others, or it is used so much that it should displace one.
        """
        size = lookup.index_bytes
        if self.lookup_bytes + size <= self._limit:
            return True
        return lookup.searches >= SEARCHES_APART and size <= (self._limit - self._filter_bytes) // 2

    def keep(self, lookup: Lookup, part: array[int] | BlockIndex | IndexSummary) -> None:
        """Keep a part that was just read."""
        self._changes.append((lookup, part))
        self._account()

    def find(self, lookup: Lookup, index: BlockIndex, key: bytes) -> int:
        """Return the first block whose last key is >= `key`. About 1 µs.

        After many searches it makes a list of the keys, which makes later ones faster (see
        `Table.probe`).
        """
        lookup.searches += 1
        if lookup.searches >= SEARCHES_SLOW:
            lookup.searches = 0
            self._changes.append((lookup, None))
            self._account()
        number = index.find(key)
        lookup.found = key, number
        return number

    def _account(self) -> None:
        """Account for the parts in `_changes`, and evict what is too much.

        If another thread is doing that now, it takes care of these changes, too.
        """
        while self._changes and self._gate.acquire(blocking=False):
            try:
                while self._changes:
                    self._take(*self._changes.popleft())
            finally:
                self._gate.release()

    def _take(self, lookup: Lookup, part: Part) -> None:
        if isinstance(part, BlockIndex):
            if lookup.index is None:
                lookup.index, lookup.index_used, lookup.searches = part, True, 0
                self._index_bytes += lookup.index_bytes
                self._indexes.append(lookup)
        elif part is None:
            if lookup.index is not None and lookup.keys is None:
                self._make_list(lookup, lookup.index)
        else:
            before = _filter_bytes(lookup)
            if isinstance(part, IndexSummary):
                lookup.summary = part
            else:
                lookup.words = part
            lookup.filter_used = True
            self._filter_bytes += _filter_bytes(lookup) - before
            if not before:
                self._filters.append(lookup)
        self._shrink_filters(self._limit, lookup)
        self._shrink_indexes(self._limit - self._filter_bytes)
        self.resize(max(self._bytes_max - self.lookup_bytes, self._bytes_max // 4))

    def _make_list(self, lookup: Lookup, index: BlockIndex) -> None:
        """Make a list of the keys if there is room. A list does not displace anything."""
        size = index.key_bytes + len(index) * KEY_OVERHEAD
        if self.lookup_bytes + size <= self._limit:
            lookup.keys, lookup.keys_bytes = index.last_keys(), size
            self._index_bytes += size

    def _shrink_indexes(self, limit: int) -> None:
        clock = self._indexes
        steps = 3 * len(clock)  # for each table: drop the list, clear the flag, drop the index
        while self._index_bytes > limit and clock and steps:
            steps -= 1
            lookup = clock.popleft()
            if lookup.keys is not None:
                lookup.keys = None
                self._index_bytes -= lookup.keys_bytes
                lookup.keys_bytes = 0
            elif lookup.index_used:
                lookup.index_used = False
            else:
                lookup.index, lookup.searches = None, 0
                self._index_bytes -= lookup.index_bytes
                continue
            clock.append(lookup)

    def _shrink_filters(self, limit: int, kept: Lookup) -> None:
        clock = self._filters
        steps = 2 * len(clock)
        while self._filter_bytes > limit and clock and steps:
            steps -= 1
            lookup = clock.popleft()
            if lookup.filter_used or lookup is kept:
                lookup.filter_used = False
                clock.append(lookup)
            else:
                self._filter_bytes -= _filter_bytes(lookup)
                lookup.words = lookup.summary = None


def make_cache(storage: Storage, options: Options) -> BlockCache:
    """Return an empty cache. It closes open files when the storage finds no free descriptor."""
    files = TableFiles(files_max(options.open_tables_max, storage.descriptors_max()))
    storage.when_short(files.shed)
    return BlockCache(options.block_cache_bytes, files)


def _block_bytes(block: bytes) -> int:
    return len(block) + BLOCK_OVERHEAD


def _filter_bytes(lookup: Lookup) -> int:
    words, summary = lookup.words, lookup.summary
    return (8 * len(words) + ARRAY_OVERHEAD if words is not None else 0) + (
        summary.nbytes if summary is not None else 0
    )
