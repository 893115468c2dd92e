"""The index and the footer of a table (docs/format.md section 5)."""

from __future__ import annotations

import struct
import sys
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from typing import Final, Literal, NamedTuple

from ...errors import CorruptionError
from .checksums import MASK_64, checksum

SAMPLE: Final = 16
SAMPLE_OVERHEAD: Final = 57  # of a bytes object, rounded up, and the pointer to it
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


class BlockIndex:
    """An index as look-ups hold it: 12 bytes a block and its last key in one piece with the others; of every 16th an object."""

    __slots__ = ("_ends", "_keys", "_samples", "offsets")

    def __init__(self, offsets: array[int], ends: array[int], keys: bytes) -> None:
        self.offsets = offsets  # one more than blocks
        self._ends = ends
        self._keys = keys
        self._samples = [keys[ends[i] : ends[i + 1]] for i in range(SAMPLE - 1, len(ends) - 1, SAMPLE)]

    def __len__(self) -> int:
        """Blocks."""
        return len(self._ends) - 1

    @property
    def key_bytes(self) -> int:
        """Bytes of all keys."""
        return len(self._keys)

    @property
    def nbytes(self) -> int:
        """Memory."""
        columns = self.offsets.itemsize * len(self.offsets) + self._ends.itemsize * len(self._ends)
        samples = sum(map(len, self._samples)) + SAMPLE_OVERHEAD * len(self._samples)
        return columns + len(self._keys) + samples

    def find(self, key: bytes) -> int:
        """The first block whose last key is not smaller than `key`; as many as there are blocks if there is none."""
        ends, keys = self._ends, self._keys
        low = bisect_left(self._samples, key) * SAMPLE
        high = min(low + SAMPLE - 1, len(ends) - 1)
        while low < high:
            middle = (low + high) >> 1
            if keys[ends[middle] : ends[middle + 1]] < key:
                low = middle + 1
            else:
                high = middle
        return low

    def last_keys(self) -> list[bytes]:
        """The last key of each block."""
        return [self._keys[a:b] for a, b in pairwise(self._ends)]

    def last_key(self) -> bytes:
        """The last key of the last block."""
        return self._keys[self._ends[-2] :]

    def summary(self, data: bytes) -> IndexSummary:
        """What finds its way in the index part, which is `data`, without holding it."""
        count = len(self)
        ends = self._ends
        starts = array("I", (ends[min(i, count)] for i in range(0, count + SAMPLE, SAMPLE)))
        summary = IndexSummary(self._samples, starts, array("Q"), count)
        for group in range(len(starts) - 1):
            parts = (data[start : start + size] for start, size in summary.places(group))
            summary.checksums.append(checksum(b"".join(parts)))
        return summary


class IndexSummary:
    """One key of each 16 blocks. With it three short reads find a block; checksums made of the whole index verify them."""

    __slots__ = ("_count", "_samples", "_starts", "checksums")

    def __init__(self, samples: list[bytes], starts: array[int], checksums: array[int], count: int) -> None:
        self._samples = samples
        self._starts = starts  # of the keys of each group, and the end
        self._count = count
        self.checksums = checksums  # of what `places` names

    @property
    def nbytes(self) -> int:
        """Memory."""
        samples = sum(map(len, self._samples)) + SAMPLE_OVERHEAD * len(self._samples)
        return samples + self._starts.itemsize * len(self._starts) + 8 * len(self.checksums)

    def group_of(self, key: bytes) -> int:
        """The group of blocks that may have the key, which must not be behind the last key of the table."""
        return bisect_left(self._samples, key)

    def places(self, group: int) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
        """(start, size) within the index part of offsets, ends and keys of a group."""
        count = self._count
        first = group * SAMPLE
        blocks = min(SAMPLE, count - first)
        ends = INDEX_HEAD.size + 8 * (count + 1) + 8 * count
        keys = ends + 4 * (count + 1)
        start, end = self._starts[group], self._starts[group + 1]
        return (
            (INDEX_HEAD.size + 8 * first, 8 * (blocks + 1)),
            (ends + 4 * first, 4 * (blocks + 1)),
            (keys + start, end - start),
        )

    def find(self, group: int, parts: tuple[bytes, bytes, bytes], key: bytes) -> tuple[int, int, int]:
        """(number, offset, size) of the first block of a group whose last key is not smaller, from what is at its places.

        `CorruptionError` if that is not what was there when the whole index was read.
        """
        if checksum(b"".join(parts)) != self.checksums[group]:
            raise CorruptionError("index checksum mismatch")
        offsets, ends = _column("Q", parts[0]), _column("I", parts[1])
        base = ends[0]
        low, high = 0, len(ends) - 2
        while low < high:
            middle = (low + high) >> 1
            if parts[2][ends[middle] - base : ends[middle + 1] - base] < key:
                low = middle + 1
            else:
                high = middle
        return group * SAMPLE + low, offsets[low], offsets[low + 1] - offsets[low]


class Footer(NamedTuple):
    """The end of a table, the same in all versions: where its filter and index begin, and how many records it has."""

    version: int
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
    offsets, ends, keys = _check_index(data, seed)
    count = len(ends) - 1
    max_expiries = struct.unpack_from(f"<{count}Q", data, INDEX_HEAD.size + 8 * (count + 1))
    return Index(tuple(offsets), max_expiries, [keys[a:b] for a, b in pairwise(ends)])


def decode_block_index(data: bytes, seed: int, *, again: bool = False) -> BlockIndex:
    """What look-ups need of the index, or `CorruptionError`. O(blocks), but without an object for each.

    One that is read `again` has the same bytes if its checksum is right, so its columns are not checked once more.
    """
    return BlockIndex(*_check_index(data, seed, again=again))


def _check_index(data: bytes, seed: int, *, again: bool = False) -> tuple[array[int], array[int], bytes]:
    """Offsets, ends of keys, and the keys of an index part that verifies."""
    if len(data) < INDEX_HEAD.size:
        raise CorruptionError("index is cut short")
    stored, length, count = INDEX_HEAD.unpack_from(data)
    if stored != checksum(memoryview(data)[8:], seed & MASK_64):
        raise CorruptionError("index checksum mismatch")
    keys = INDEX_HEAD.size + 8 * (count + 1) + 8 * count + 4 * (count + 1)
    if length != len(data) or count < 1 or keys > length:
        raise CorruptionError("index lengths do not add up")
    offsets = _column("Q", data[INDEX_HEAD.size : INDEX_HEAD.size + 8 * (count + 1)])
    ends = _column("I", data[keys - 4 * (count + 1) : keys])
    ascending = again or (_is_ascending(ends) and _is_ascending(offsets))
    if keys + ends[-1] != length or ends[0] or not ascending:
        raise CorruptionError("index columns do not add up")
    if not again and not _is_ascending(_keys_of(data[keys:], ends)):
        raise CorruptionError("index is not ascending")
    return offsets, ends, data[keys:]


def _keys_of(keys: bytes, ends: array[int]) -> list[bytes]:
    return [keys[a:b] for a, b in pairwise(ends)]


def _column(kind: Literal["I", "Q"], data: bytes) -> array[int]:
    column = array(kind, data)
    if sys.byteorder == "big":
        column.byteswap()
    return column


def _is_ascending(values: Sequence[bytes] | Sequence[int]) -> bool:
    found: list[bytes | int] = list(values)
    return found == sorted(found)


def encode_footer(footer: Footer, seed: int) -> bytes:
    """The last 64 bytes; `seed` is file seed + offset."""
    data = FOOTER.pack(
        0,
        FOOTER_MAGIC,
        footer.version,
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
    if found != number or not 0 < filter_offset < index_offset < footer_offset:
        raise CorruptionError("table footer does not fit the file", offset=footer_offset)
    return Footer(version, found, filter_offset, index_offset, records)
