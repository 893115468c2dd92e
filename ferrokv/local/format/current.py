"""The file CURRENT: a store's identity and manifest number (docs/format.md section 2)."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from ...errors import CorruptionError, UnsupportedFormat
from .checksums import checksum
from .limits import NUMBER_MAX
from .versions import STORE

MAGIC: Final = b"FERROKV\n"
LAYOUT: Final = struct.Struct("<8sHHI16sQQQ")
CURRENT_BYTES: Final = LAYOUT.size
assert CURRENT_BYTES == 56


class Current(NamedTuple):
    """The identity of a store and the number of its manifest."""

    store_id: bytes
    manifest_number: int
    created_ms: int


def encode_current(current: Current) -> bytes:
    """Return the 56 bytes of the file."""
    fields = (
        MAGIC,
        STORE.written,
        STORE.written,
        0,
        current.store_id,
        current.manifest_number,
        current.created_ms,
    )
    body = LAYOUT.pack(*fields, 0)[:48]
    return body + checksum(body).to_bytes(8, "little")


def decode_current(data: bytes) -> Current:
    """Decode the file.

    Raises `CorruptionError` if it is damaged, `UnsupportedFormat` if the store needs a newer
    version.
    """
    if len(data) != CURRENT_BYTES:
        raise CorruptionError(f"wrong length: expected={CURRENT_BYTES} found={len(data)}", offset=0)
    magic, min_reader, min_writer, features, store_id, manifest_number, created_ms, stored = LAYOUT.unpack(data)
    if magic != MAGIC or stored != checksum(data[:48]):
        raise CorruptionError("checksum mismatch", offset=0)
    if max(min_reader, min_writer) > STORE.written or features:
        raise UnsupportedFormat(
            f"the store needs a newer ferrokv: needs_version={max(min_reader, min_writer)} "
            f"this_version={STORE.written} features={features:#x}"
        )
    if not 1 <= manifest_number <= NUMBER_MAX:
        raise CorruptionError(f"manifest number out of range: number={manifest_number}", offset=32)
    return Current(store_id, manifest_number, created_ms)
