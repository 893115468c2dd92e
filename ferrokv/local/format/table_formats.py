"""The versions of tables: how each is read, written and checked.

See docs/format.md sections 5 and 9. The footer of a table names its version, which determines the
format of the rest of the file. Code that reads, builds or checks tables gets the functions for a
version from the registry in this module, so adding a version means adding one `TableFormat`. All
versions have three things in common: the footer (tables.py), an index that finds blocks by offset,
and a filter that `filters.may_contain` can probe.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from ...errors import UnsupportedFormat
from . import blocks, filters, tables
from .commits import Entry


class TableFormat(NamedTuple):
    """One version of the table format, as functions on bytes.

    A seed is the file seed plus the offset of the part. Decoders raise `CorruptionError`.
    """

    version: int
    block_records_max: int
    encode_block: Callable[[Sequence[bytes], Sequence[Entry], Sequence[int], int], bytes]
    """(ascending keys, entries, hashes of the keys, seed) -> the bytes of a block."""
    verify_block: Callable[[bytes, int], None]
    find_in_block: Callable[[bytes, bytes, int], Entry | None]
    """(verified block, key, low byte of the key's hash) -> the record, or None."""
    decode_block: Callable[[bytes], tuple[list[bytes], list[Entry]]]
    block_fits: Callable[[bytes, Sequence[int]], bool]
    """(verified block, hashes of its keys) -> True if the block fits the hashes."""
    encode_filter: Callable[[array[int], int], bytes]
    decode_filter: Callable[[bytes, int], array[int]]
    encode_index: Callable[[tables.Index, int], bytes]
    decode_index: Callable[[bytes, int], tables.Index]
    decode_block_index: Callable[..., tables.BlockIndex]
    """`decode_block_index(data, seed, again=...)` returns the form of an index that lookups use."""
    summarise: Callable[[tables.BlockIndex, bytes], tables.IndexSummary | None]
    """(index, bytes of the index part) -> its summary, or None if it can only be read whole."""


def _encode_block(keys: Sequence[bytes], entries: Sequence[Entry], hashes: Sequence[int], seed: int) -> bytes:
    return blocks.encode_block(keys, entries, bytes([key_hash & 255 for key_hash in hashes]), seed)


def _block_fits(data: bytes, hashes: Sequence[int]) -> bool:
    start = blocks.HEAD_BYTES
    return data[start : start + len(hashes)] == bytes([key_hash & 255 for key_hash in hashes])


V1: Final = TableFormat(
    1,
    blocks.BLOCK_RECORDS_MAX,
    _encode_block,
    blocks.verify_block,
    blocks.find_in_block,
    blocks.decode_block,
    _block_fits,
    filters.encode_filter,
    filters.decode_filter,
    tables.encode_index,
    tables.decode_index,
    tables.decode_block_index,
    tables.BlockIndex.summary,
)
TABLE_FORMATS: Final[dict[int, TableFormat]] = {V1.version: V1}


def newest_format() -> TableFormat:
    """Return the version that flushes and merges write."""
    return TABLE_FORMATS[max(TABLE_FORMATS)]


def format_of(footer: tables.Footer) -> TableFormat:
    """Return the version that a footer names.

    Raises `UnsupportedFormat` if this library does not know it.
    """
    found = TABLE_FORMATS.get(footer.version)
    if found is None:
        raise UnsupportedFormat(
            f"table of another format version: found={footer.version} this_version={max(TABLE_FORMATS)} "
            f"reads={','.join(map(str, sorted(TABLE_FORMATS)))}"
        )
    return found
