"""A table as readers use it: its metadata, and the parts of it that are in memory."""

from __future__ import annotations

import errno
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from ...errors import CorruptionError
from ..format.checksums import table_seed
from ..format.commits import Entry
from ..format.edits import TableMeta
from ..format.filters import may_contain
from ..format.table_formats import format_of
from ..format.tables import FOOTER_BYTES, BlockIndex, IndexSummary, decode_footer
from ..names import file_name
from ..storage.requests import File, Op, ReadAt
from .lookups import SEARCHES_EACH_LOAD, BlockCache, Lookup


class Unread:
    """The type of UNREAD, the answer of a probe that would have to read from disk."""


UNREAD: Final = Unread()


# These errors say something about this process, and nothing about the file.
NOT_OF_A_FILE: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOENT, errno.EBADF, errno.ENOMEM})


def read_damage(error: OSError, name: str, offset: int | None = None) -> CorruptionError | None:
    """Return a failed read as an error of damage; None if the failure says nothing about the file."""
    if error.errno in NOT_OF_A_FILE:
        return None
    return CorruptionError(f"the file cannot be read: reason={error.strerror or error}", path=name, offset=offset)


@contextmanager
def damage_in(name: str) -> Iterator[None]:
    """Add the file's name to a `CorruptionError` from a decoder, and turn a failed read into one."""
    try:
        yield
    except OSError as error:
        damage = read_damage(error, name)
        if damage is None:
            raise
        raise damage from error
    except CorruptionError as error:
        if error.path is not None:
            raise
        raise error.at(name) from error


class Table:
    """An immutable table. Any thread may read it.

    Usually it has no file of its own, but gets one from `files.TableFiles` when it is read. So
    reading a table raises `TableGoneError` if the view is not pinned and another process has
    removed the file.
    """

    __slots__ = (
        "_block_base",
        "_cache",
        "_held",
        "_lookup",
        "_seed",
        "max_key",
        "meta",
        "min_key",
        "name",
        "number",
    )

    def __init__(self, meta: TableMeta, file: File | None, store_id: bytes, cache: BlockCache) -> None:
        """A `file`, of a table that was just written, is closed and not kept open by number.

        Nobody may find it under that number until an edit names the table.
        """
        self.meta = meta
        self.number = meta.number
        self.name = file_name("table", meta.number)
        self.min_key = meta.min_key
        self.max_key = meta.max_key
        self._held: File | None = None
        self._lookup = Lookup()
        self._seed = table_seed(store_id, meta.number)
        self._cache = cache
        self._block_base = meta.number << 32
        if file is not None:
            file.close()

    def probe(self, key: bytes, key_hash: int) -> Entry | Unread | None:
        """Return the record of `key` from memory; None if there is none; UNREAD if not known."""
        lookup = self._lookup
        words = lookup.words
        if words is None:
            return UNREAD
        if not may_contain(words, key_hash):
            lookup.filter_used = True
            return None
        keys = lookup.keys
        if keys is not None:
            number = bisect_left(keys, key)
        else:
            index = lookup.index
            if index is None:
                return UNREAD
            number = self._cache.find(lookup, index, key)
        lookup.index_used = True
        block = self._cache.get(self._block_base + number)
        if block is None:
            return UNREAD if key <= self.max_key else None
        return lookup.format.find_in_block(block, key, key_hash & 255)

    def search(self, key: bytes, key_hash: int) -> Op[Entry | None]:
        """Return the record of `key`, or None.

        Reads at most one block, once filter and index are loaded.
        """
        lookup = self._lookup
        words = lookup.words
        if words is None:
            words = yield from self._load_filter()
        if not may_contain(words, key_hash) or key > self.max_key:
            return None
        number, offset, size = yield from self._find_block(key)
        block = self._cache.get(self._block_base + number)
        if block is None:
            block = yield from self._fetch(offset, size)
            self._cache.put(self._block_base + number, block)
        return lookup.format.find_in_block(block, key, key_hash & 255)

    def _find_block(self, key: bytes) -> Op[tuple[int, int, int]]:
        """Return (number, offset, size) of the only block that may hold `key`.

        The key must be <= the table's last key.
        """
        lookup = self._lookup
        index = lookup.index
        if index is None:
            summary = lookup.summary
            lookup.searches += 1
            if summary is not None and not self._cache.has_room(lookup):
                return (yield from self._find_by(summary, key))
            index = yield from self.load_index()
        found = lookup.found
        # Most often `probe` has just searched for the same key object.
        number = found[1] if found is not None and found[0] is key else index.find(key)
        offset = index.offsets[number]
        return number, offset, index.offsets[number + 1] - offset

    def _find_by(self, summary: IndexSummary, key: bytes) -> Op[tuple[int, int, int]]:
        lookup = self._lookup
        lookup.filter_used = True
        file = self._held or (yield from self._cache.files.open(self.number))
        _, start = yield from self._find_places(file)
        group = summary.group_of(key)
        offsets, ends, keys = summary.places(group)
        parts = (
            (yield ReadAt(file, start + offsets[0], offsets[1])),
            (yield ReadAt(file, start + ends[0], ends[1])),
            (yield ReadAt(file, start + keys[0], keys[1])),
        )
        with damage_in(self.name):
            return summary.find(group, parts, key)

    def load_index(self, *, keep: bool = True) -> Op[BlockIndex]:
        """Return the index, from memory or disk. Without `keep`, the cache is left as it is."""
        lookup = self._lookup
        index = lookup.index
        if index is not None:
            lookup.index_used = True
            return index
        file = self._held or (yield from self._cache.files.open(self.number))
        with damage_in(self.name):
            start, index_offset = yield from self._find_places(file)
            data = yield ReadAt(file, index_offset, self.meta.file_bytes - FOOTER_BYTES - index_offset)
            index = lookup.format.decode_block_index(data, self._seed + index_offset, again=bool(lookup.index_bytes))
            if index.offsets[-1] != start or index.last_key() != self.max_key:
                raise CorruptionError("index does not fit the table", offset=index_offset)
        lookup.index_bytes = index.nbytes
        lookup.searches += SEARCHES_EACH_LOAD
        if keep and self._cache.has_room(lookup):
            self._cache.keep(lookup, index)
        if keep and lookup.summary is None:
            summary = lookup.format.summarise(index, data)
            if summary is not None:
                self._cache.keep(lookup, summary)
        return index

    def _load_filter(self) -> Op[array[int]]:
        file = self._held or (yield from self._cache.files.open(self.number))
        with damage_in(self.name):
            start, index_offset = yield from self._find_places(file)
            data = yield ReadAt(file, start, index_offset - start)
            words = self._lookup.format.decode_filter(data, self._seed + start)
        self._cache.keep(self._lookup, words)
        return words

    def _find_places(self, file: File) -> Op[tuple[int, int]]:
        """Return the offsets of filter and index, and set the table's format.

        The footer is read only once.
        """
        places = self._lookup.places
        if places is None:
            footer_offset = self.meta.file_bytes - FOOTER_BYTES
            data = yield ReadAt(file, footer_offset, FOOTER_BYTES)
            footer = decode_footer(data, self.number, footer_offset, self._seed + footer_offset)
            # Order: `format` before `places`. A thread that finds `places` set relies on `format`.
            self._lookup.format = format_of(footer)
            places = self._lookup.places = footer.filter_offset, footer.index_offset
        return places

    def read_block(self, index: BlockIndex, number: int) -> Op[bytes]:
        """Return block `number`, verified, from the cache or the disk."""
        block = self._cache.get(self._block_base + number)
        if block is None:
            block = yield from self.fetch_block(index, number)
            self._cache.put(self._block_base + number, block)
        return block

    def fetch_block(self, index: BlockIndex, number: int) -> Op[bytes]:
        """Return block `number`, verified, from the disk. The cache is left as it is."""
        offset = index.offsets[number]
        return (yield from self._fetch(offset, index.offsets[number + 1] - offset))

    def _fetch(self, offset: int, size: int) -> Op[bytes]:
        file = self._held or self._cache.files.find(self.number)
        if file is None:
            file = yield from self._cache.files.open(self.number)
        try:
            block: bytes = yield ReadAt(file, offset, size)
        except OSError as error:
            damage = read_damage(error, self.name, offset)
            if damage is None:
                raise
            raise damage from error
        try:
            self._lookup.format.verify_block(block, self._seed + offset)
        except CorruptionError as error:
            raise CorruptionError(error.reason, path=self.name, offset=offset) from error
        return block

    @property
    def is_held(self) -> bool:
        """True if the table has a descriptor of its own."""
        return self._held is not None

    def held(self) -> Op[Table]:
        """Return the table with a descriptor of its own, for readers that cannot pin.

        Raises `TableGoneError` if the file is gone, `StoreBusy` if there is no free descriptor.
        """
        file = yield from self._cache.files.open_anew(self.number)
        table = self._copy()
        table._held = file
        return table

    def moved(self, level: int) -> Table:
        """Return the same file as a table of another level.

        What is in memory is shared; no descriptor is held.
        """
        table = self._copy()
        table._held = None
        table.meta = self.meta._replace(level=level)
        return table

    def _copy(self) -> Table:
        table = Table.__new__(Table)
        for slot in Table.__slots__:
            setattr(table, slot, getattr(self, slot))
        return table

    def decode(self, block: bytes) -> tuple[list[bytes], list[Entry]]:
        """Return the keys and entries of a verified block."""
        return self._lookup.format.decode_block(block)
