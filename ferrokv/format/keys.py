"""Internal keys: keyspace id (big-endian) · kind · user key (docs/format.md section 4)."""

from __future__ import annotations

from typing import Final

CATALOGUE_ID: Final = 0
KIND_KEY: Final = b"k"
PREFIX_BYTES: Final = 5  # keyspace id and kind

CATALOGUE_NAMES: Final = b"\0\0\0\0n"
CATALOGUE_NEXT_ID: Final = b"\0\0\0\0i"


def encode_prefix(keyspace_id: int) -> bytes:
    """The five bytes before every user key of a keyspace."""
    return keyspace_id.to_bytes(4, "big") + KIND_KEY


def encode_keyspace_id(keyspace_id: int) -> bytes:
    """The catalogue's value for a name."""
    return keyspace_id.to_bytes(4, "big")


def decode_keyspace_id(key_or_value: bytes) -> int:
    """The keyspace id at the start of an internal key, or of a catalogue value."""
    return int.from_bytes(key_or_value[:4], "big")


def successor_of_prefix(prefix: bytes) -> bytes | None:
    """The smallest byte string above every string with this prefix; None when there is none (all 0xff)."""
    stripped = prefix.rstrip(b"\xff")
    if not stripped:
        return None
    return stripped[:-1] + bytes((stripped[-1] + 1,))
