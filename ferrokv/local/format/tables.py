"""The index and the footer of a table (docs/format.md section 5).

In memory an index has one of three forms. `Index` has all of it, for verification. `BlockIndex` has
what a lookup needs. `IndexSummary` is a tenth of that: with it a lookup reads the rest from disk.
"""

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
SAMPLE_OVERHEAD: Final = 57  # memory of a bytes object beside its bytes, rounded up, and the pointer to it
INDEX_HEAD: Final = struct.Struct("<QII")
FOOTER: Final = struct.Struct("<Q8sH6sQQQQQ")
FOOTER_BYTES: Final = 64
FOOTER_MAGIC: Final = b"FKVTABLE"
assert FOOTER.size == FOOTER_BYTES


class Index(NamedTuple):
    """The offset, highest expiry and last key of each block.

    One more offset is the end of the blocks.
    """

    offsets: Sequence[int]
    max_expiries: Sequence[int]
    last_keys: list[bytes]


class BlockIndex:
    """An index as lookups use it: 12 bytes per block, and all last keys in one bytes object.

    Only every 16th last key is an object of its own. `find` bisects these first.
    """

    __slots__ = ("_ends", "_keys", "_samples", "offsets")

    def __init__(self, offsets: array[int], ends: array[int], keys: bytes) -> None:
        self.offsets = offsets  # of the blocks, then the end of the last block
        self._ends = ends
        self._keys = keys
        self._samples = [keys[ends[i] : ends[i + 1]] for i in range(SAMPLE - 1, len(ends) - 1, SAMPLE)]

    def __len__(self) -> int:
        """Return the number of blocks."""
        return len(self._ends) - 1

    @property
    def key_bytes(self) -> int:
        """The size of all last keys together."""
        return len(self._keys)

    @property
    def nbytes(self) -> int:
        """The memory that the index takes."""
        columns = self.offsets.itemsize * len(self.offsets) + self._ends.itemsize * len(self._ends)
        samples = sum(map(len, self._samples)) + SAMPLE_OVERHEAD * len(self._samples)
        return columns + len(self._keys) + samples

    def find(self, key: bytes) -> int:
        """Return the first block whose last key is >= `key`; `len(self)` if there is none."""
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
        """Return the last key of each block."""
        return [self._keys[a:b] for a, b in pairwise(self._ends)]

    def last_key(self) -> bytes:
        """Return the last key of the last block."""
        return self._keys[self._ends[-2] :]

    def summary(self, data: bytes) -> IndexSummary:
        """Return the summary of this index. `data` is the encoded index part."""
        count = len(self)
        ends = self._ends
        starts = array("I", (ends[min(i, count)] for i in range(0, count + SAMPLE, SAMPLE)))
        summary = IndexSummary(self._samples, starts, array("Q"), count)
        for group in range(len(starts) - 1):
            parts = (data[start : start + size] for start, size in summary.places(group))
            summary.checksums.append(checksum(b"".join(parts)))
        return summary


class IndexSummary:
    """A sample of an index: the last key of every 16th block.

    It finds a block with three short reads. The reads are verified by a checksum for each group of
    16 blocks. These checksums were computed from the whole index part when that had been read and
    verified.
    """

    __slots__ = ("_count", "_samples", "_starts", "checksums")

    def __init__(self, samples: list[bytes], starts: array[int], checksums: array[int], count: int) -> None:
        self._samples = samples
        self._starts = starts  # where the keys of each group begin, and where the last one's end
        self._count = count
        self.checksums = checksums  # of the bytes at each group's `places`

    @property
    def nbytes(self) -> int:
        """The memory that the summary takes."""
        samples = sum(map(len, self._samples)) + SAMPLE_OVERHEAD * len(self._samples)
        return samples + self._starts.itemsize * len(self._starts) + 8 * len(self.checksums)

    def group_of(self, key: bytes) -> int:
        """Return the group of blocks that may hold `key`, which must be <= the table's last key."""
        return bisect_left(self._samples, key)

    def places(self, group: int) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
        """Return (start, size) in the index part of a group's offsets, key ends and keys."""
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
        """Return (number, offset, size) of the first block of a group whose last key is >= `key`.

        `parts` are the bytes at the group's `places`. Raises `CorruptionError` if they have changed
        since the whole index was read.
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
    """The last 64 bytes of a table, in all versions the same.

    They hold the version and number of the table, its record count, and where filter and index
    begin.
    """

    version: int
    number: int
    filter_offset: int
    index_offset: int
    records: int


def encode_index(index: Index, seed: int) -> bytes:
    """Encode the index part. `seed` is the file seed plus the part's offset."""
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
    """Decode the index part. Raises `CorruptionError` if it is damaged. O(blocks)."""
    offsets, ends, keys = _check_index(data, seed)
    count = len(ends) - 1
    max_expiries = struct.unpack_from(f"<{count}Q", data, INDEX_HEAD.size + 8 * (count + 1))
    return Index(tuple(offsets), max_expiries, [keys[a:b] for a, b in pairwise(ends)])


def decode_block_index(data: bytes, seed: int, *, again: bool = False) -> BlockIndex:
    """Decode what lookups need of the index part. Raises `CorruptionError` if it is damaged.

    O(blocks), but makes no object for each block. Pass `again` if the same index was decoded
    before: with a valid checksum its bytes are the same, so the order of its columns is not checked
    again.
    """
    return BlockIndex(*_check_index(data, seed, again=again))


def _check_index(data: bytes, seed: int, *, again: bool = False) -> tuple[array[int], array[int], bytes]:
    """Verify an index part. Return the block offsets, the ends of the keys, and the keys."""
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
    """Encode the footer. `seed` is the file seed plus the footer's offset."""
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
    """Decode the footer of table `number`, which is at `footer_offset`.

    Raises `CorruptionError` if it is damaged or of another table. The version is not checked here.
    """
    if len(data) != FOOTER_BYTES:
        raise CorruptionError("table footer is cut short", offset=footer_offset)
    stored, magic, version, _, found, filter_offset, index_offset, records, _ = FOOTER.unpack(data)
    if magic != FOOTER_MAGIC or stored != checksum(data[8:], seed & MASK_64):
        raise CorruptionError("table footer checksum mismatch", offset=footer_offset)
    if found != number or not 0 < filter_offset < index_offset < footer_offset:
        raise CorruptionError("table footer does not fit the file", offset=footer_offset)
    return Footer(version, found, filter_offset, index_offset, records)
