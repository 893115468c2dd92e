"""Internal keys: keyspace id (big-endian) · kind · user key (docs/format.md section 4)."""

from __future__ import annotations

from typing import Final

CATALOGUE_ID: Final = 0
KIND_KEY: Final = b"k"
KIND_ELEMENT: Final = b"e"
KIND_OWNER: Final = b"o"
PREFIX_BYTES: Final = 5  # keyspace id and kind
GENERATION_END: Final = 13  # where the generation of an element or owner ends in its internal key

CATALOGUE_NAMES: Final = b"\0\0\0\0n"
CATALOGUE_NEXT_ID: Final = b"\0\0\0\0i"
CATALOGUE_QUOTAS: Final = b"\0\0\0\0q"
CATALOGUE_END: Final = b"\0\0\0\0r"


def encode_prefix(keyspace_id: int) -> bytes:
    """The five bytes before every user key of a keyspace."""
    return keyspace_id.to_bytes(4, "big") + KIND_KEY


def element_prefix(prefix: bytes, generation: int) -> bytes:
    """What all elements of a collection begin with; `prefix` is that of its keyspace's user keys."""
    return prefix[:4] + KIND_ELEMENT + generation.to_bytes(8, "big")


def generation_of(internal_key: bytes) -> bytes | None:
    """Keyspace id, kind and generation of an element or an owner, as one; None for a record of another kind."""
    if internal_key[4:5] not in (KIND_ELEMENT, KIND_OWNER):
        return None
    return internal_key[:4] + internal_key[PREFIX_BYTES:GENERATION_END]


def are_user_keys(low: bytes, high: bytes) -> bool:
    """True if every key of [low, high] is the record of a user key, and of one keyspace."""
    return low[:PREFIX_BYTES] == high[:PREFIX_BYTES] and low[4:PREFIX_BYTES] == KIND_KEY


def owner_key(prefix: bytes, generation: int) -> bytes:
    """Where the user key of a collection is recorded."""
    return prefix[:4] + KIND_OWNER + generation.to_bytes(8, "big")


def encode_keyspace_id(keyspace_id: int) -> bytes:
    """The catalogue's value for a name."""
    return keyspace_id.to_bytes(4, "big")


def encode_quota(max_bytes: int) -> bytes:
    """The catalogue's value for a quota; 0 is none."""
    return max_bytes.to_bytes(8, "big")


def decode_quota(value: bytes) -> int:
    """The quota that the catalogue's value says."""
    return int.from_bytes(value, "big")


def decode_keyspace_id(key_or_value: bytes) -> int:
    """The keyspace id at the start of an internal key, or of a catalogue value."""
    return int.from_bytes(key_or_value[:4], "big")


def successor_of_prefix(prefix: bytes) -> bytes | None:
    """The smallest byte string above every string with this prefix; None when there is none (all 0xff)."""
    stripped = prefix.rstrip(b"\xff")
    if not stripped:
        return None
    return stripped[:-1] + bytes((stripped[-1] + 1,))
