"""Logs, the format of the WAL and the manifest: a header and a chain of frames.

See docs/format.md section 3. A frame is one atomic change. It holds the checksum of the frame
before it, and the offset up to which the log was known to be durable when the frame was made. A
reader calls `read_frame` until it returns None. It then calls `holds_later_durable` to tell a torn
tail, which is where the log ends, from damage.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from ...errors import CorruptionError, DataError
from .checksums import MASK_64, checksum
from .limits import FRAME_PAYLOAD_BYTES_MAX, NUMBER_MAX, SEQNO_MAX, WAL_BYTES_MAX
from .versions import MANIFEST, WAL, FileVersions

WAL_MAGIC: Final = b"FKVWAL\0\0"
MANIFEST_MAGIC: Final = b"FKVMAN\0\0"
_VERSIONS: Final[dict[bytes, FileVersions]] = {WAL_MAGIC: WAL, MANIFEST_MAGIC: MANIFEST}
HEADER: Final = struct.Struct("<8sH6s16sQQQQQQQQ")
HEADER_BYTES: Final = 96
assert HEADER.size == HEADER_BYTES

FRAME_MAGIC: Final = b"FKVF"
FRAME: Final = struct.Struct("<Q4sIQQQIB3s")
FRAME_BYTES: Final = 48
assert FRAME.size == FRAME_BYTES
_FRAME_BODY: Final = struct.Struct("<4sIQQQIB3s")

TYPE_COMMIT: Final = 1
TYPE_EDIT: Final = 2


class Position(NamedTuple):
    """A place between two frames: log number, offset, seqno and checksum of the frame before.

    Before the first frame of a log, the checksum is that of its header. Number 0 stands for the
    place before the first log.
    """

    number: int
    end: int
    seqno: int
    checksum: int


START: Final = Position(0, 0, 0, 0)


class LogHeader(NamedTuple):
    """The identity of a log file, and the position at which its predecessor ends."""

    magic: bytes
    store_id: bytes
    number: int
    salt: int
    predecessor: Position
    checksum: int  # of the encoded header; part of the seed of every frame

    def start(self) -> Position:
        """Return the position before the first frame."""
        return Position(self.number, HEADER_BYTES, self.predecessor.seqno, self.checksum)


class Frame(NamedTuple):
    """A decoded frame: its payload, record count and type, and the position after it."""

    payload: bytes
    records: int
    type: int
    after: Position


def encode_header(magic: bytes, store_id: bytes, number: int, salt: int, predecessor: Position) -> bytes:
    """Return the 96 bytes at the start of a log."""
    p = predecessor
    body = HEADER.pack(
        magic, _VERSIONS[magic].written, bytes(6), store_id, number, salt, p.number, p.end, p.seqno, p.checksum, 0, 0
    )[:88]
    return body + checksum(body).to_bytes(8, "little")


def decode_header(data: bytes, magic: bytes, store_id: bytes, number: int) -> LogHeader:
    """Decode a header.

    It must have this magic, be of this store, and have the number in the file's name. Raises
    `CorruptionError` if it does not, `UnsupportedFormat` if it is of another format version.
    """
    if len(data) < HEADER_BYTES:
        raise CorruptionError(f"log header is cut short: found={len(data)} expected={HEADER_BYTES}", offset=0)
    fields = HEADER.unpack_from(data)
    if fields[0] != magic or fields[11] != checksum(data[:88]):
        raise CorruptionError("log header checksum mismatch", offset=0)
    _VERSIONS[magic].check(fields[1])
    if fields[3] != store_id or fields[4] != number:
        raise CorruptionError("log belongs to another store or has another number", offset=16)
    predecessor = Position(*fields[6:10])
    if number > NUMBER_MAX or predecessor.number >= number:
        raise CorruptionError("log number out of range", offset=32)
    if predecessor.end > WAL_BYTES_MAX or predecessor.seqno > SEQNO_MAX:
        raise CorruptionError("log continues an impossible position", offset=56)
    return LogHeader(magic, store_id, number, fields[5], predecessor, fields[11])


def encode_frame(
    header_checksum: int, position: Position, type_: int, count: int, payload: bytes, durable_end: int | None = None
) -> bytes:
    """Encode the frame that goes to `position`. O(length).

    The frame states that the log is durable up to `durable_end`, by default up to `position`.
    Raises `DataError` if the payload is empty or too large.
    """
    if not 1 <= len(payload) <= FRAME_PAYLOAD_BYTES_MAX:
        raise DataError(f"a commit has 1 to {FRAME_PAYLOAD_BYTES_MAX} bytes: found={len(payload)}")
    end = position.end
    durable = end if durable_end is None else durable_end
    body = _FRAME_BODY.pack(
        FRAME_MAGIC, len(payload), position.seqno + 1, position.checksum, durable, count, type_, b"\0\0\0"
    )
    body += payload
    stored = checksum(body, (header_checksum + end) & MASK_64)
    return stored.to_bytes(8, "little") + body + bytes(-len(payload) % 8)


def frame_bytes(payload: bytes) -> int:
    """Return the size of the frame that holds a payload."""
    return FRAME_BYTES + -(-len(payload) // 8) * 8


def position_after(position: Position, frame: bytes) -> Position:
    """Return the position after a frame that `encode_frame` made for `position`."""
    return Position(position.number, position.end + len(frame), position.seqno + 1, int.from_bytes(frame[:8], "little"))


def _verify(
    data: bytes, offset: int, header_checksum: int, base: int = 0
) -> tuple[int, int, int, int, int, int] | None:
    """Return (checksum, length, seqno, previous, durable end, count) of the frame at `offset`.

    None if there is no frame with a valid checksum there. Whether it continues the chain is not
    checked. `base` is the offset of `data` in the log.
    """
    if offset + FRAME_BYTES > len(data):
        return None
    stored, magic, length, seqno, previous, durable, count, _, _ = FRAME.unpack_from(data, offset)
    end = offset + FRAME_BYTES + length
    if magic != FRAME_MAGIC or not 1 <= length <= FRAME_PAYLOAD_BYTES_MAX or end > len(data):
        return None
    if stored != checksum(memoryview(data)[offset + 8 : end], (header_checksum + base + offset) & MASK_64):
        return None
    return stored, length, seqno, previous, durable, count


def read_frame(data: bytes, header_checksum: int, position: Position, base: int = 0) -> Frame | None:
    """Return the frame at `position`, or None where the valid part of the log ends. O(length).

    `data` is the log from offset `base` on. The valid part also ends before a frame that verifies
    by itself but does not continue the chain.
    """
    offset = position.end - base
    fields = _verify(data, offset, header_checksum, base)
    if fields is None:
        return None
    stored, length, seqno, previous, _, count = fields
    if seqno != position.seqno + 1 or previous != position.checksum:
        return None
    start = offset + FRAME_BYTES
    after = Position(position.number, base + start + length + (-length % 8), seqno, stored)
    return Frame(data[start : start + length], count, data[offset + 44], after)


def holds_later_durable(data: bytes, header_checksum: int, end: int) -> bool:
    """Return True if a frame behind `end` proves that the bytes at `end` had been synced.

    Then the frame at `end`, which does not verify, is damaged and not a torn tail.
    """
    offset = data.find(FRAME_MAGIC, end + 8)
    while offset >= 0:
        fields = _verify(data, offset - 8, header_checksum)
        if fields is not None and fields[4] > end:
            return True
        offset = data.find(FRAME_MAGIC, offset + 4)
    return False
