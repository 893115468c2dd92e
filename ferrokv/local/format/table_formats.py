"""The versions of tables, and how each is read, written and checked (docs/format.md sections 5 and 9).

The footer of a table says its version, and everything else of the file is this version's affair. Whoever reads, builds or checks a
table asks the registry here, so a new version is one more `TableFormat` and nothing else. All versions share three things: the
footer (tables.py), an index that names blocks by offset, and a filter whose bits are found by `filters.may_contain`.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from ...errors import UnsupportedFormat
from . import blocks, filters, tables
from .commits import Entry


class TableFormat(NamedTuple):
    """One version of tables, as functions over bytes. Seeds are file seed + offset; decoders raise `CorruptionError`."""

    version: int
    block_records_max: int
    encode_block: Callable[[Sequence[bytes], Sequence[Entry], Sequence[int], int], bytes]
    """(ascending keys, entries, hashes of the keys, seed) to the bytes of a block."""
    verify_block: Callable[[bytes, int], None]
    find_in_block: Callable[[bytes, bytes, int], Entry | None]
    """The record of a key in a verified block, given the low byte of its hash; None if there is none."""
    decode_block: Callable[[bytes], tuple[list[bytes], list[Entry]]]
    block_fits: Callable[[bytes, Sequence[int]], bool]
    """True if what look-ups need of a verified block fits the hashes of its keys."""
    encode_filter: Callable[[array[int], int], bytes]
    decode_filter: Callable[[bytes, int], array[int]]
    encode_index: Callable[[tables.Index, int], bytes]
    decode_index: Callable[[bytes, int], tables.Index]
    decode_block_index: Callable[..., tables.BlockIndex]
    """`decode_block_index(data, seed, again=...)`: what look-ups hold of an index."""
    summarise: Callable[[tables.BlockIndex, bytes], tables.IndexSummary | None]
    """What finds its way in an index part, given its bytes, without holding it; None if such an index is only read whole."""


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
    """The version that flushes and merges write."""
    return TABLE_FORMATS[max(TABLE_FORMATS)]


def format_of(footer: tables.Footer) -> TableFormat:
    """The version that a footer names; `UnsupportedFormat` if this library does not know it."""
    found = TABLE_FORMATS.get(footer.version)
    if found is None:
        raise UnsupportedFormat(
            f"table of another format version: found={footer.version} this_version={max(TABLE_FORMATS)} "
            f"reads={','.join(map(str, sorted(TABLE_FORMATS)))}"
        )
    return found
