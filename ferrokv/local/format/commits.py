"""The payload of a commit frame: record heads, then keys and values (docs/format.md section 3).

In memory a record is an entry, a plain tuple `(value, expires_ms, seqno, older)`. A value of None
is a tombstone, and a value of class `Root` is the root of a collection. An expires_ms of 0 means
that the record never expires. `older` is the entry that this one replaced; it is kept only while a
snapshot can see it.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, Final

from ...errors import CorruptionError, UnsupportedFormat
from .keys import PREFIX_BYTES
from .roots import Root

Entry = tuple[bytes | None, int, int, Any]
"""(value, or None for a tombstone; expires_ms, or 0 for never; seqno; older entry, or None)"""

KIND_TOMBSTONE: Final = 0
KIND_STRING: Final = 1
KIND_ROOT: Final = 2

HEAD: Final = struct.Struct("<B3xIIQ")
assert HEAD.size == 20


def encode_commit(writes: Mapping[bytes, tuple[bytes | None, int]]) -> bytes:
    """Encode `writes`, which map an internal key to (value or None, expires_ms). O(bytes)."""
    pack = HEAD.pack
    heads: list[bytes] = []
    bodies: list[bytes] = []
    for key, (value, expires_ms) in writes.items():
        if value is None:
            heads.append(pack(KIND_TOMBSTONE, len(key), 0, 0))
            bodies.append(key)
        else:
            kind = KIND_ROOT if value.__class__ is Root else KIND_STRING
            heads.append(pack(kind, len(key), len(value), expires_ms))
            bodies.append(key)
            bodies.append(value)
    return b"".join(heads) + b"".join(bodies)


def decode_commit(payload: bytes, count: int, seqno: int) -> dict[bytes, Entry]:
    """Decode the `count` records of a commit into entries.

    Raises `CorruptionError` if the lengths do not add up, if a key is too short or an expiry is out
    of range, or if a key occurs twice. Raises `UnsupportedFormat` if the kind of a record is
    unknown.
    """
    position = count * HEAD.size
    if not 1 <= position <= len(payload):
        raise CorruptionError(f"commit with an impossible record count: count={count}")
    entries: dict[bytes, Entry] = {}
    for kind, key_bytes, value_bytes, expires_ms in HEAD.iter_unpack(payload[:position]):
        if key_bytes < PREFIX_BYTES or expires_ms >> 63:
            raise CorruptionError(
                f"record with an invalid key or expiry: key_bytes={key_bytes} expires_ms={expires_ms}"
            )
        value_start = position + key_bytes
        end = value_start + value_bytes
        if kind == KIND_STRING:
            entries[payload[position:value_start]] = (payload[value_start:end], expires_ms, seqno, None)
        elif kind == KIND_ROOT:
            entries[payload[position:value_start]] = (Root(payload[value_start:end]), expires_ms, seqno, None)
        elif kind == KIND_TOMBSTONE and not value_bytes:
            entries[payload[position:value_start]] = (None, 0, seqno, None)
        elif kind == KIND_TOMBSTONE:
            raise CorruptionError(f"tombstone with a value: bytes={value_bytes}")
        else:
            raise UnsupportedFormat(f"record of an unknown kind: kind={kind}")
        position = end
    if position != len(payload):
        raise CorruptionError(f"commit lengths do not add up: expected={len(payload)} found={position}")
    if len(entries) != count:
        raise CorruptionError(f"commit with a key that occurs twice: expected={count} found={len(entries)}")
    return entries
