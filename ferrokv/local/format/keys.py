"""Internal keys: keyspace id (big-endian) · kind · user key (docs/format.md section 4)."""

from __future__ import annotations

from typing import Final

from ...errors import CorruptionError
from .limits import KEYSPACE_ID_MAX, KEYSPACE_NAME_BYTES_MAX

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
    """The quota that the catalogue's value says. `CorruptionError` for a value that says none."""
    if len(value) != 8:
        raise CorruptionError(f"catalogue with a quota of another length: bytes={len(value)}")
    return int.from_bytes(value, "big")


def decode_name(key: bytes, begin: bytes) -> str:
    """The keyspace's name in a key of the catalogue that begins so. `CorruptionError` if it is none."""
    name = key[len(begin) :]
    try:
        text = name.decode()
    except UnicodeDecodeError as error:
        raise CorruptionError("catalogue with a name that is no UTF-8") from error
    if not 0 < len(name) <= KEYSPACE_NAME_BYTES_MAX:
        raise CorruptionError(f"catalogue with a name of a length that none has: bytes={len(name)}")
    return text


def decode_catalogue_id(value: bytes) -> int:
    """The id that a value of the catalogue says. `CorruptionError` if it can be none."""
    keyspace_id = int.from_bytes(value, "big")
    if len(value) != 4 or not 1 <= keyspace_id <= KEYSPACE_ID_MAX + 1:
        raise CorruptionError(f"catalogue with an id that no keyspace has: value={value[:8].hex()}")
    return keyspace_id


def decode_keyspace_id(internal_key: bytes) -> int:
    """The keyspace id at the start of an internal key."""
    return int.from_bytes(internal_key[:4], "big")


def successor_of_prefix(prefix: bytes) -> bytes | None:
    """The smallest byte string above every string with this prefix; None when there is none (all 0xff)."""
    stripped = prefix.rstrip(b"\xff")
    if not stripped:
        return None
    return stripped[:-1] + bytes((stripped[-1] + 1,))
