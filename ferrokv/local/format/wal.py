"""The commits of a WAL, frame by frame (docs/format.md sections 3 and 4)."""

from __future__ import annotations

from ...errors import CorruptionError
from .commits import Entry, decode_commit
from .logs import TYPE_COMMIT, LogHeader, Position, read_frame


def next_commit(
    data: bytes, header: LogHeader, position: Position, base: int = 0
) -> tuple[dict[bytes, Entry], Position] | None:
    """Return the records of the frame at `position`, and the position after the frame.

    None where the valid part of `data` ends. `data` begins at offset `base` of the WAL. Raises
    `CorruptionError` if the frame is no commit or its records do not decode.
    """
    frame = read_frame(data, header.checksum, position, base)
    if frame is None:
        return None
    if frame.type != TYPE_COMMIT:
        raise CorruptionError(f"WAL frame of an unknown type: type={frame.type}", offset=position.end)
    return decode_commit(frame.payload, frame.records, frame.after.seqno), frame.after
