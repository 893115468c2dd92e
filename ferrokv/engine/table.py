"""A table as readers hold it: an open file, its manifest facts, and its filter and index once they were needed."""

from __future__ import annotations

import errno
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from ..errors import CorruptionError
from ..format.blocks import decode_block, find_in_block, verify_block
from ..format.checksums import table_seed
from ..format.commits import Entry
from ..format.edits import TableMeta
from ..format.filters import MASKS, decode_filter
from ..format.tables import FOOTER_BYTES, Index, decode_footer, decode_index
from ..storage.requests import File, Op, Open, ReadAt
from .cache import GenerationalCache
from .names import file_name


class Unread:
    """The answer "a block that is not in memory has to be read"."""


UNREAD: Final = Unread()

BlockCache = GenerationalCache[int, bytes]


# These say something of this process, and nothing of the file.
NOT_OF_A_FILE: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOENT, errno.EBADF, errno.ENOMEM})


def read_damage(error: OSError, name: str, offset: int | None = None) -> CorruptionError | None:
    """The damage that a failed read of a file stands for; None if the failure says nothing of the file."""
    if error.errno in NOT_OF_A_FILE:
        return None
    return CorruptionError(f"the file cannot be read: reason={error.strerror or error}", path=name, offset=offset)


@contextmanager
def damage_in(name: str) -> Iterator[None]:
    """Name the file in a `CorruptionError` that a decoder of bytes raised, and make one of a read that failed."""
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
    """One immutable table. Any thread; the file closes with the last reference."""

    __slots__ = ("_block_base", "_cache", "_seed", "_words", "file", "index", "max_key", "meta", "min_key", "number")

    def __init__(self, meta: TableMeta, file: File, store_id: bytes, cache: BlockCache) -> None:
        self.meta = meta
        self.number = meta.number
        self.min_key = meta.min_key
        self.max_key = meta.max_key
        self.file = file
        self.index: Index | None = None
        self._words: array[int] | None = None
        self._seed = table_seed(store_id, meta.number)
        self._cache = cache
        self._block_base = meta.number << 32

    def probe(self, key: bytes, key_hash: int) -> Entry | Unread | None:
        """The record of `key` from memory alone, None if the table has none, UNREAD if memory can not tell."""
        words = self._words
        index = self.index
        if words is None or index is None:
            return UNREAD
        mask = MASKS[key_hash >> 8 & 4095]
        if words[(key_hash >> 20) % len(words)] & mask != mask:
            return None
        block = self._cache.get(self._block_base + bisect_left(index.last_keys, key))
        if block is None:
            return UNREAD if key <= self.max_key else None
        return find_in_block(block, key, key_hash & 255)

    def search(self, key: bytes, key_hash: int) -> Op[Entry | None]:
        """The record of `key`, with one block read at most once filter and index are loaded."""
        index = yield from self.load()
        found = self.probe(key, key_hash)
        if not isinstance(found, Unread):
            return found
        number = bisect_left(index.last_keys, key)
        if number >= len(index.last_keys):
            return None
        block = yield from self.read_block(number)
        return find_in_block(block, key, key_hash & 255)

    def load(self) -> Op[Index]:
        """Read footer, filter and index, unless they are here already; then the index."""
        if self.index is not None and self._words is not None:
            return self.index
        with damage_in(self.file.name):
            footer_offset = self.meta.file_bytes - FOOTER_BYTES
            data = yield ReadAt(self.file, footer_offset, FOOTER_BYTES)
            footer = decode_footer(data, self.number, footer_offset, self._seed + footer_offset)
            start = footer.filter_offset
            data = yield ReadAt(self.file, start, footer_offset - start)
            split = footer.index_offset - start
            words = decode_filter(data[:split], self._seed + start)
            index = decode_index(data[split:], self._seed + footer.index_offset)
            if index.offsets[-1] != start or index.last_keys[-1] != self.max_key:
                raise CorruptionError("index does not fit the table", offset=footer.index_offset)
        self._words = words
        self.index = index
        return index

    def read_block(self, number: int) -> Op[bytes]:
        """Block `number` of a loaded table, verified, from the cache or the disk."""
        block = self._cache.get(self._block_base + number)
        if block is None:
            block = yield from self.fetch_block(number)
            self._cache.put(self._block_base + number, block)
        return block

    def fetch_block(self, number: int) -> Op[bytes]:
        """Block `number` of a loaded table, verified, from the disk; the cache is left alone."""
        index = self.index
        assert index is not None
        offset = index.offsets[number]
        try:
            block: bytes = yield ReadAt(self.file, offset, index.offsets[number + 1] - offset)
        except OSError as error:
            damage = read_damage(error, self.file.name, offset)
            if damage is None:
                raise
            raise damage from error
        try:
            verify_block(block, self._seed + offset)
        except CorruptionError as error:
            raise CorruptionError(error.reason, path=self.file.name, offset=offset) from error
        return block

    def moved(self, level: int) -> Table:
        """The same file as a table of another level; what is loaded stays loaded."""
        table = Table.__new__(Table)
        for slot in Table.__slots__:
            setattr(table, slot, getattr(self, slot))
        table.meta = self.meta._replace(level=level)
        return table

    def decode(self, block: bytes) -> tuple[list[bytes], list[Entry]]:
        """Keys and entries of a verified block."""
        return decode_block(block)


def open_table(meta: TableMeta, store_id: bytes, cache: BlockCache) -> Op[Table]:
    """The table with its file open; nothing of it is read yet."""
    file = yield Open(file_name("table", meta.number))
    return Table(meta, file, store_id, cache)
