"""Merging sorted sources page by page, by dict and sort instead of a heap of single records.

Each source has a page of records in memory. The merge finds the page that ends first, and takes
from every page all records up to that key. It puts them into a dict, from the oldest source to the
newest, so that newer versions of a key replace older ones, and sorts the keys once. Timsort detects
the sorted runs, so this is almost a linear merge.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Final, Protocol

from ...errors import CorruptionError
from ..format.commits import Entry
from ..format.tables import BlockIndex
from ..storage.requests import Op
from .memtable import Memtable
from .table import Table

PAGE_RECORDS: Final = 128
PAGE_BYTES: Final = 1 << 20
Page = tuple[list[bytes], list[Entry]]


class Source(Protocol):
    """Sorted records in pages.

    The pages follow the direction of the scan; each page is in ascending order.
    """

    def next_page(self) -> Op[Page | None]:
        """Return the next page, which is not empty; None at the end."""


class MemtableSource:
    """The records of a memtable in [low, high)."""

    def __init__(
        self, memtable: Memtable, low: bytes, high: bytes | None, *, reverse: bool = False, as_of: int | None = None
    ) -> None:
        self._memtable = memtable
        self._low = low
        self._high = high
        self._reverse = reverse
        self._as_of = as_of
        self._more = True

    def next_page(self) -> Op[Page | None]:
        """Return a page, copied under the memtable's lock, so that a writer may go on meanwhile."""
        yield from ()
        while self._more:
            keys, entries, self._more = self._memtable.page(
                self._low, self._high, PAGE_RECORDS, reverse=self._reverse, seqno=self._as_of
            )
            if keys:
                if self._reverse:
                    self._high = keys[0]
                else:
                    self._low = keys[-1] + b"\0"
                return keys, entries
            if self._more:
                # Every key of the page is newer than the snapshot. Skip it.
                self._skip_page()
        return None

    def _skip_page(self) -> None:
        keys, _, self._more = self._memtable.page(
            self._low, self._high, PAGE_RECORDS, reverse=self._reverse, seqno=None
        )
        if keys and self._reverse:
            self._high = keys[0]
        elif keys:
            self._low = keys[-1] + b"\0"


class RunSource:
    """The records in [low, high) of tables that do not overlap.

    The tables are given in ascending order.
    """

    def __init__(
        self,
        tables: Sequence[Table],
        low: bytes = b"",
        high: bytes | None = None,
        *,
        reverse: bool = False,
        use_cache: bool = True,
        wanted: int | None = None,
    ) -> None:
        """`wanted` limits the first page to about so many records.

        Later pages have PAGE_RECORDS.
        """
        self._tables = list(tables) if reverse else list(reversed(tables))
        self._low = low
        self._high = high
        self._reverse = reverse
        self._use_cache = use_cache
        self._page_records = PAGE_RECORDS if wanted is None else min(wanted, PAGE_RECORDS)
        self.bytes_read = 0
        self._table: Table | None = None
        self._index: BlockIndex | None = None  # of the table
        self._table_records = 0
        self._block = 0
        self._last_block = 0
        self._low_block = -1  # the block that may have records below `low`; -1 if there is none
        self._high_block = -1  # the same for records from `high` on

    def next_page(self) -> Op[Page | None]:
        """Return a page of as many blocks of one table as make up about PAGE_RECORDS or PAGE_BYTES."""
        while True:
            if self._table is None:
                if not self._tables:
                    return None
                self._table = self._tables.pop()
                yield from self._enter(self._table)
            page = yield from self._read_blocks(self._table)
            if page is not None:
                return page
            self._table = None

    def _enter(self, table: Table) -> Op[None]:
        """Load the table's index, and set the first and last block in the scan's direction."""
        index = self._index = yield from table.load_index(keep=self._use_cache)
        first, last = 0, len(index) - 1
        self._low_block = self._high_block = -1
        if self._low > table.min_key:
            first = self._low_block = index.find(self._low)
        if self._high is not None and self._high <= table.max_key:
            last = self._high_block = index.find(self._high)
        self._block, self._last_block = (last, first) if self._reverse else (first, last)
        self._table_records = 0

    def _read_blocks(self, table: Table) -> Op[Page | None]:
        keys: list[bytes] = []
        entries: list[Entry] = []
        step = -1 if self._reverse else 1
        read_bytes = 0
        index = self._index
        assert index is not None
        wanted, self._page_records = self._page_records, PAGE_RECORDS
        read = table.read_block if self._use_cache else table.fetch_block
        while (not keys or (len(keys) < wanted and read_bytes < PAGE_BYTES)) and (
            (self._last_block - self._block) * step >= 0
        ):
            block = yield from read(index, self._block)
            block_keys, block_entries = table.decode(block)
            if self._block in (self._low_block, self._high_block):
                first = bisect_left(block_keys, self._low)
                end = len(block_keys) if self._high is None else bisect_left(block_keys, self._high)
                block_keys, block_entries = block_keys[first:end], block_entries[first:end]
            self._block += step
            read_bytes += len(block)
            self._table_records += len(block_keys)
            if self._reverse:
                keys, entries = block_keys + keys, block_entries + entries
            else:
                keys += block_keys
                entries += block_entries
        self.bytes_read += read_bytes
        if (self._last_block - self._block) * step < 0:
            self._check_count(table)
        return (keys, entries) if keys else None

    def _check_count(self, table: Table) -> None:
        """Raise `CorruptionError` if a table that was read whole lacks records, or has too many."""
        if self._low or self._high is not None or self._table_records == table.meta.records:
            return
        raise CorruptionError(
            f"a table has another number of records than the manifest says: expected={table.meta.records} "
            f"found={self._table_records}",
            path=table.name,
        )


class Merge:
    """The newest version of each key in several sources. The sources are given from old to new."""

    def __init__(self, sources: Sequence[Source], *, reverse: bool = False) -> None:
        self._sources: list[Source] = list(sources)
        self._pages: list[Page] = [([], []) for _ in sources]
        self._reverse = reverse

    def next_page(self) -> Op[Page | None]:
        """Return the next page, which is ascending and not empty; None at the end.

        It contains tombstones and expired records, too.
        """
        yield from self._refill()
        pages = self._pages
        if not pages:
            return None
        if len(pages) == 1:
            page, pages[0] = pages[0], ([], [])
            return page
        merged: dict[bytes, Entry] = {}
        if self._reverse:
            border = max(keys[0] for keys, _ in pages)
            for i, (keys, entries) in enumerate(pages):
                cut = bisect_left(keys, border)
                merged.update(zip(keys[cut:], entries[cut:], strict=True))
                pages[i] = (keys[:cut], entries[:cut])
        else:
            border = min(keys[-1] for keys, _ in pages)
            for i, (keys, entries) in enumerate(pages):
                cut = bisect_right(keys, border)
                merged.update(zip(keys[:cut], entries[:cut], strict=True))
                pages[i] = (keys[cut:], entries[cut:])
        ordered = sorted(merged)
        return ordered, [merged[key] for key in ordered]

    def _refill(self) -> Op[None]:
        """Get a page from every source that has none, and drop the sources that have ended."""
        i = 0
        while i < len(self._sources):
            if not self._pages[i][0]:
                page = yield from self._sources[i].next_page()
                if page is None:
                    del self._sources[i], self._pages[i]
                    continue
                self._pages[i] = page
            i += 1
