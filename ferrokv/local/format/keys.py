"""Internal keys, and the keys and values of the catalogue (docs/format.md section 4).

An internal key consists of the keyspace id (4 bytes, big-endian), a kind (1 byte) and the user key;
the parts of a collection have its generation (8 bytes, big-endian) behind the kind. Keyspace 0 is
the catalogue, which holds the ids and quotas of the other keyspaces.
"""

from __future__ import annotations

from typing import Final

from ...contract.limits import KEYSPACE_NAME_BYTES_MAX
from ...errors import CorruptionError
from .limits import KEYSPACE_ID_MAX

KIND_KEY: Final = b"k"
KIND_ELEMENT: Final = b"e"
KIND_OWNER: Final = b"o"
PREFIX_BYTES: Final = 5  # the keyspace id and the kind
GENERATION_END: Final = 13  # where the generation ends in the internal key of an element or owner

CATALOGUE_NAMES: Final = b"\0\0\0\0n"
CATALOGUE_NEXT_ID: Final = b"\0\0\0\0i"
CATALOGUE_QUOTAS: Final = b"\0\0\0\0q"
CATALOGUE_END: Final = b"\0\0\0\0r"


def encode_prefix(keyspace_id: int) -> bytes:
    """Return the five bytes that precede every user key of a keyspace."""
    return keyspace_id.to_bytes(4, "big") + KIND_KEY


def element_prefix(prefix: bytes, generation: int) -> bytes:
    """Return the prefix of a collection's elements.

    `prefix` is that of its keyspace's user keys.
    """
    return prefix[:4] + KIND_ELEMENT + generation.to_bytes(8, "big")


def generation_of(internal_key: bytes) -> bytes | None:
    """Return the keyspace id and generation of an element or owner, joined; None for another kind.

    The kind is left out, so that a collection's elements and its owner give the same bytes.
    """
    if internal_key[4:5] not in (KIND_ELEMENT, KIND_OWNER):
        return None
    return internal_key[:4] + internal_key[PREFIX_BYTES:GENERATION_END]


def are_user_keys(low: bytes, high: bytes) -> bool:
    """Return True if every internal key in [low, high] is that of a user key, all in one keyspace."""
    return low[:PREFIX_BYTES] == high[:PREFIX_BYTES] and low[4:PREFIX_BYTES] == KIND_KEY


def owner_key(prefix: bytes, generation: int) -> bytes:
    """Return the internal key of a collection's owner record, whose value is the user key."""
    return prefix[:4] + KIND_OWNER + generation.to_bytes(8, "big")


def encode_keyspace_id(keyspace_id: int) -> bytes:
    """Return the catalogue's value for the name of a keyspace."""
    return keyspace_id.to_bytes(4, "big")


def encode_quota(max_bytes: int) -> bytes:
    """Return the catalogue's value for a quota; 0 means no quota."""
    return max_bytes.to_bytes(8, "big")


def decode_quota(value: bytes) -> int:
    """Decode the catalogue's value for a quota. Raises `CorruptionError` if its length is wrong."""
    if len(value) != 8:
        raise CorruptionError(f"catalogue quota has the wrong length: bytes={len(value)}")
    return int.from_bytes(value, "big")


def decode_name(key: bytes, begin: bytes) -> str:
    """Return the keyspace name in a key of the catalogue that begins with `begin`.

    Raises `CorruptionError` if the name is not valid.
    """
    name = key[len(begin) :]
    try:
        text = name.decode()
    except UnicodeDecodeError as error:
        raise CorruptionError("catalogue name is not UTF-8") from error
    if not 0 < len(name) <= KEYSPACE_NAME_BYTES_MAX:
        raise CorruptionError(f"catalogue name is empty or too long: bytes={len(name)}")
    return text


def decode_catalogue_id(value: bytes) -> int:
    """Decode a keyspace id, or the next free one.

    Raises `CorruptionError` if it is out of range.
    """
    keyspace_id = int.from_bytes(value, "big")
    if len(value) != 4 or not 1 <= keyspace_id <= KEYSPACE_ID_MAX + 1:
        raise CorruptionError(f"catalogue id has the wrong length or is out of range: value={value[:8].hex()}")
    return keyspace_id


def decode_keyspace_id(internal_key: bytes) -> int:
    """Return the keyspace id at the start of an internal key."""
    return int.from_bytes(internal_key[:4], "big")


def successor_of_prefix(prefix: bytes) -> bytes | None:
    """Return the smallest byte string that sorts after all strings with this prefix.

    None if there is none, because every byte of the prefix is 0xff.
    """
    stripped = prefix.rstrip(b"\xff")
    if not stripped:
        return None
    return stripped[:-1] + bytes((stripped[-1] + 1,))
