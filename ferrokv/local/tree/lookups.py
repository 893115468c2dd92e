"""What is kept in memory of the files of tables, under one bound: blocks, filters and indexes.

A filter saves the reading of an index and a block of a table that does not have a key, and an index is needed before a block can
be read at all. So they come first: together they may take three quarters of the bound, and what they leave is for blocks. When they
do not fit, an index of which not much is used is let go, and its summary, a tenth of it, finds a block with three short reads. Only
then filters and summaries go that were not used lately. Those of the table that was just read stay, however large they are: else a
table whose filter is larger than the bound would be read anew for each key.

Going is decided by a second chance: whoever uses a part sets a flag, and the hand of the clock clears it before it takes the part.
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

BLOCK_OVERHEAD: Final = 150  # of a cached block: the object, its key, and its place in a dict
ARRAY_OVERHEAD: Final = 80
KEY_OVERHEAD: Final = 57  # of a key in a list: the object, rounded up, and the pointer
SEARCHES_SLOW: Final = 512  # so many searches pay for a list of keys
SEARCHES_EACH_LOAD: Final = 8  # searches by the summary cost as much as reading an index, which a scan does
SEARCHES_APART: Final = 64  # so many searches by the summary pay for an index in the place of another
LOOKUPS_SHARE: Final = 0.75


class Lookup:
    """Filter and index of one table, as far as they are in memory. Any thread loads and stores single attributes."""

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
        # The last keys of the blocks once more, as objects: twice the memory, and a third of the time of a search.
        self.keys: list[bytes] | None = None
        self.places: tuple[int, int] | None = None  # offsets of filter and index
        self.format = V1  # of the table, once there are places
        self.found: tuple[bytes, int] | None = None  # the last key that was searched for, and its block
        self.index_bytes = 0  # of the index, also when it is not in memory
        self.keys_bytes = 0
        self.searches = 0  # since the index came, or went
        self.filter_used = False  # with the summary
        self.index_used = False


Part = array | BlockIndex | IndexSummary | None  # type: ignore[type-arg]
"""What is kept of a table; None for a list of keys, which is made of what is there"""


class BlockCache(GenerationalCache[int, bytes]):
    """The blocks, and the accounts of filters, indexes and open files."""

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
        self._filter_bytes = 0  # owner: the gate, as of the three below
        self._index_bytes = 0
        self._filters: deque[Lookup] = deque()
        self._indexes: deque[Lookup] = deque()
        self._changes: deque[tuple[Lookup, Part]] = deque()
        self._gate = Lock()  # never waited for

    @property
    def lookup_bytes(self) -> int:
        """What filters and indexes take."""
        return self._filter_bytes + self._index_bytes

    def has_room(self, lookup: Lookup) -> bool:
        """True if the index of a table can be kept: beside the others, or because it is used so much that another one should go."""
        size = lookup.index_bytes
        if self.lookup_bytes + size <= self._limit:
            return True
        return lookup.searches >= SEARCHES_APART and size <= (self._limit - self._filter_bytes) // 2

    def keep(self, lookup: Lookup, part: array[int] | BlockIndex | IndexSummary) -> None:
        """Keep what was just read."""
        self._changes.append((lookup, part))
        self._account()

    def find(self, lookup: Lookup, index: BlockIndex, key: bytes) -> int:
        """The first block whose last key is not smaller than `key`. About 1 µs; after many searches a list makes it faster."""
        lookup.searches += 1
        if lookup.searches >= SEARCHES_SLOW:
            lookup.searches = 0
            self._changes.append((lookup, None))
            self._account()
        number = index.find(key)
        lookup.found = key, number
        return number

    def _account(self) -> None:
        """Take in what has come, and let go what is too much, unless a thread is just doing so, which then does this, too."""
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
        """If there is room for it: a list makes no other index go."""
        size = index.key_bytes + len(index) * KEY_OVERHEAD
        if self.lookup_bytes + size <= self._limit:
            lookup.keys, lookup.keys_bytes = index.last_keys(), size
            self._index_bytes += size

    def _shrink_indexes(self, limit: int) -> None:
        clock = self._indexes
        steps = 3 * len(clock)  # a list, a second chance, and then the index
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
    """An empty cache, which gives up open files when the storage finds no descriptor."""
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
