"""Checking the WALs that a store needs, up to where COMMIT says that the newest one is durable.

See docs/format.md section 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from ...errors import CorruptionError
from ..format.limits import FRAME_PAYLOAD_BYTES_MAX
from ..format.logs import FRAME_BYTES, HEADER_BYTES, WAL_MAGIC, LogHeader, Position, decode_header
from ..format.wal import next_commit
from ..storage.requests import PAUSE, File, Op, ReadAt
from .findings import Findings
from .meter import Meter

CHUNK_BYTES: Final = 64 << 10
FRAME_BYTES_MAX: Final = FRAME_BYTES + FRAME_PAYLOAD_BYTES_MAX + 8


class WalPart(NamedTuple):
    """A WAL and how far it is durable.

    If `end` is not `certain`, it is the end of the file: the header of its successor, which would
    say where the WAL ends, is damaged.
    """

    file: File
    header: LogHeader | None
    end: int
    certain: bool


def predecessor_of(file: File | None, store_id: bytes, number: int) -> Op[int]:
    """Return the number of the WAL before this one, from its header, or else the next lower."""
    if file is not None:
        with suppress(CorruptionError, OSError):  # `measure_wals` finds it again, and reports it
            return decode_header((yield ReadAt(file, 0, HEADER_BYTES)), WAL_MAGIC, store_id, number).predecessor.number
    return number - 1


def measure_wals(
    files: Mapping[int, File], sizes: Mapping[str, int], newest: int, end: int, store_id: bytes
) -> Op[tuple[list[WalPart], Findings]]:
    """Return the WALs from old to new, and what is wrong with their headers.

    `end` is where WAL `newest` ends.
    """
    findings = Findings()
    parts: list[WalPart] = []
    ends = {newest: end}
    # From new to old, because only the header of its successor says where a WAL ends.
    for number in sorted(files, reverse=True):
        file = files[number]
        header = None
        with findings.collecting(file.name, 0):
            data: bytes = yield ReadAt(file, 0, HEADER_BYTES)
            header = decode_header(data, WAL_MAGIC, store_id, number)
            ends[header.predecessor.number] = header.predecessor.end
        certain = number in ends
        parts.insert(0, WalPart(file, header, ends[number] if certain else sizes.get(file.name, 0), certain))
    return parts, findings


def verify_wals(parts: Sequence[WalPart], meter: Meter) -> Op[Findings]:
    """Check the frames of the WALs. About 2 µs per record.

    Each frame proves the one before it, so nothing is reported about frames behind a damaged one.
    """
    findings = Findings()
    before: Position | None = None
    for part in parts:
        findings.files += 1
        findings.bytes += part.end
        if part.header is None:
            meter.add(part.end)
            before = None
            continue
        follows = before is not None and before.number in (part.header.number - 1, part.header.predecessor.number)
        if follows and part.header.predecessor != before:
            findings.add("WAL does not continue the one before it", part.file.name, 48)
        meter.add(HEADER_BYTES)
        reached = yield from _read_frames(part, part.header, findings, meter)
        meter.add(part.end - reached.end)
        before = reached if part.certain and reached.end == part.end else None
    return findings


def _read_frames(part: WalPart, header: LogHeader, findings: Findings, meter: Meter) -> Op[Position]:
    """Check frames, and return the position after the last one that verifies."""
    position = header.start()
    name = part.file.name
    size = CHUNK_BYTES
    while position.end < part.end:
        base = position.end
        data = b""
        with findings.collecting(name, base):
            data = yield ReadAt(part.file, base, min(size, part.end - base))
        try:
            while (found := next_commit(data, header, position, base)) is not None:
                entries, position = found
                findings.records += len(entries)
        except CorruptionError as error:
            findings.add(error.reason, name, position.end)
            return position
        if position.end > base:
            size = CHUNK_BYTES
            meter.add(position.end - base)
            yield PAUSE
        elif len(data) == size and size < FRAME_BYTES_MAX:
            size = FRAME_BYTES_MAX  # the next frame is larger than a chunk
        else:
            break
    if part.certain and position.end < part.end:
        findings.add(f"WAL frame does not verify before the durable end: end={part.end}", name, position.end)
    return position
