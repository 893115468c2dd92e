"""The index and the footer of a table (docs/format.md section 5)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from ..errors import CorruptionError, UnsupportedFormat
from .checksums import MASK_64, checksum
from .limits import FORMAT_VERSION

INDEX_HEAD: Final = struct.Struct("<QII")
FOOTER: Final = struct.Struct("<Q8sH6sQQQQQ")
FOOTER_BYTES: Final = 64
FOOTER_MAGIC: Final = b"FKVTABLE"
assert FOOTER.size == FOOTER_BYTES


class Index(NamedTuple):
    """Where the blocks of a table are: offsets (one more than blocks), highest expiry and last key of each."""

    offsets: Sequence[int]
    max_expiries: Sequence[int]
    last_keys: list[bytes]


class Footer(NamedTuple):
    """The end of a table: where its filter and index begin, and how many records it has."""

    number: int
    filter_offset: int
    index_offset: int
    records: int


def encode_index(index: Index, seed: int) -> bytes:
    """The index part; `seed` is file seed + offset."""
    count = len(index.last_keys)
    ends = [0]
    for key in index.last_keys:
        ends.append(ends[-1] + len(key))
    body = b"".join(
        (
            struct.pack(f"<{count + 1}Q", *index.offsets),
            struct.pack(f"<{count}Q", *index.max_expiries),
            struct.pack(f"<{count + 1}I", *ends),
            *index.last_keys,
        )
    )
    data = INDEX_HEAD.pack(0, INDEX_HEAD.size + len(body), count)[8:] + body
    return checksum(data, seed & MASK_64).to_bytes(8, "little") + data


def decode_index(data: bytes, seed: int) -> Index:
    """The index, or `CorruptionError`. O(blocks)."""
    if len(data) < INDEX_HEAD.size:
        raise CorruptionError("index is cut short")
    stored, length, count = INDEX_HEAD.unpack_from(data)
    if stored != checksum(memoryview(data)[8:], seed & MASK_64):
        raise CorruptionError("index checksum mismatch")
    keys = INDEX_HEAD.size + 8 * (count + 1) + 8 * count + 4 * (count + 1)
    if length != len(data) or count < 1 or keys > length:
        raise CorruptionError("index lengths do not add up")
    offsets = struct.unpack_from(f"<{count + 1}Q", data, INDEX_HEAD.size)
    max_expiries = struct.unpack_from(f"<{count}Q", data, INDEX_HEAD.size + 8 * (count + 1))
    ends = struct.unpack_from(f"<{count + 1}I", data, keys - 4 * (count + 1))
    if keys + ends[-1] != length or ends[0] or list(ends) != sorted(ends) or list(offsets) != sorted(offsets):
        raise CorruptionError("index columns do not add up")
    last_keys = [data[keys + a : keys + b] for a, b in pairwise(ends)]
    if offsets[0] or last_keys != sorted(last_keys):
        raise CorruptionError("index does not begin at the start, or is not ascending")
    return Index(offsets, max_expiries, last_keys)


def encode_footer(footer: Footer, seed: int) -> bytes:
    """The last 64 bytes; `seed` is file seed + offset."""
    data = FOOTER.pack(
        0,
        FOOTER_MAGIC,
        FORMAT_VERSION,
        bytes(6),
        footer.number,
        footer.filter_offset,
        footer.index_offset,
        footer.records,
        0,
    )[8:]
    return checksum(data, seed & MASK_64).to_bytes(8, "little") + data


def decode_footer(data: bytes, number: int, footer_offset: int, seed: int) -> Footer:
    """The footer that stands at `footer_offset` of table `number`, or `CorruptionError`."""
    if len(data) != FOOTER_BYTES:
        raise CorruptionError("table footer is cut short", offset=footer_offset)
    stored, magic, version, _, found, filter_offset, index_offset, records, _ = FOOTER.unpack(data)
    if magic != FOOTER_MAGIC or stored != checksum(data[8:], seed & MASK_64):
        raise CorruptionError("table footer checksum mismatch", offset=footer_offset)
    if version != FORMAT_VERSION:
        raise UnsupportedFormat(f"table of another format version: found={version} this_version={FORMAT_VERSION}")
    if found != number or not 0 < filter_offset < index_offset < footer_offset:
        raise CorruptionError("table footer does not fit the file", offset=footer_offset)
    return Footer(found, filter_offset, index_offset, records)
