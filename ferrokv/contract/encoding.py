"""What callers may pass, and how it is encoded. Checked before anything is queued."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from ..errors import DataError, ResponseError
from .limits import EXPIRY_MS_MAX, KEY_BYTES_MAX, KEYSPACE_NAME_BYTES_MAX, VALUE_BYTES_MAX

INT64_MIN: Final = -(1 << 63)
INT64_MAX: Final = (1 << 63) - 1
Key = bytes | bytearray | memoryview | str
Value = bytes | bytearray | memoryview | str | int | float
Expiry = int | float | timedelta
Names = Key | Iterable[Key]
"""One key or several, as in redis-py."""
RankAndScore = list[int | float]
"""[position, score]"""
Cast = Callable[[float], Any]
"""What a score is converted with."""
Write = tuple[bytes, bytes | None, int | None]
"""Key, value (None deletes it) and TTL in ms (None for none) of a plain write."""


def encode_key(name: Key) -> bytes:
    """Return the key's bytes; str becomes UTF-8.

    `DataError` for another type, or a wrong length.
    """
    if isinstance(name, str):
        key = _utf8(name)
    elif type(name) is bytes:
        key = name
    elif isinstance(name, bytes | bytearray | memoryview):
        key = bytes(name)
    else:
        raise DataError(f"a key must be bytes or str, not {type(name).__name__}")
    if not 0 < len(key) <= KEY_BYTES_MAX:
        raise DataError(f"a key must have 1 to {KEY_BYTES_MAX} bytes: found={len(key)}")
    return key


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"a str must be encodable as UTF-8: {error.reason} position={error.start}") from error


def encode_bound(bound: Key | None) -> bytes | None:
    """Return the bytes of one end of a range, which may be empty."""
    if bound is None or (isinstance(bound, str | bytes) and not bound):
        return None if bound is None else b""
    return encode_key(bound)


def encode_value(value: Value) -> bytes:
    """Return the value's bytes, encoded as by redis-py. `DataError` for a bool or an unknown type.

    Numbers are encoded as their `repr`.
    """
    if type(value) is bytes:
        encoded = value
    elif isinstance(value, str):
        encoded = _utf8(value)
    elif isinstance(value, bytes | bytearray | memoryview):
        encoded = bytes(value)
    elif isinstance(value, bool) or not isinstance(value, int | float):
        raise DataError(
            f"Invalid input of type: '{type(value).__name__}'. Convert to a bytes, string, int or float first."
        )
    else:
        try:
            encoded = repr(value).encode()
        except ValueError as error:  # Python refuses to convert an int of more than 4,300 digits
            raise DataError(f"a number cannot be encoded: {error}") from error
    if len(encoded) > VALUE_BYTES_MAX:
        raise DataError(f"a value must have at most {VALUE_BYTES_MAX} bytes: found={len(encoded)}")
    return encoded


def encode_ttl(ttl: Expiry | str, *, unit_ms: int = 1000) -> int:
    """Convert a duration to milliseconds. It may be zero or negative.

    A duration is a number in units of `unit_ms`, a string of digits, or a timedelta.
    """
    if ttl.__class__ is int and INT64_MIN <= ttl <= INT64_MAX:  # nearly always
        return ttl * unit_ms
    if isinstance(ttl, timedelta):
        return ttl // timedelta(milliseconds=1)
    if isinstance(ttl, str) and re.fullmatch(r"-?[0-9]{1,20}", ttl):
        ttl = int(ttl)
    if isinstance(ttl, bool) or not isinstance(ttl, int | float):
        raise DataError(f"a duration must be a number or a timedelta, not {type(ttl).__name__}")
    if isinstance(ttl, int) and not INT64_MIN <= ttl <= INT64_MAX:
        raise ResponseError("value is not an integer or out of range")
    try:
        return int(ttl * unit_ms)
    except (OverflowError, ValueError) as error:
        raise DataError(f"a duration must be finite: found={ttl}") from error


def check_positive(ttl_ms: int | None, command: str) -> None:
    """Raise `ResponseError` with Redis's message for a TTL of zero or less."""
    if ttl_ms is not None and ttl_ms <= 0:
        raise ResponseError(f"invalid expire time in '{command}' command")


def encode_moment(when: int | float | datetime, *, unit_ms: int = 1000) -> int:
    """Convert a moment to milliseconds since 1970.

    A moment is a number in units of `unit_ms`, or a datetime (a naive one is local time).
    """
    if isinstance(when, datetime):
        return int(when.timestamp() * 1000) // unit_ms * unit_ms
    return encode_ttl(when, unit_ms=unit_ms)


def encode_member(member: Value) -> bytes:
    """Return the bytes of a field of a hash or a member of a set, which may be empty."""
    encoded = encode_value(member)
    if len(encoded) > KEY_BYTES_MAX:
        raise DataError(f"a field or member must have at most {KEY_BYTES_MAX} bytes: found={len(encoded)}")
    return encoded


def expiry_at(now_ms: int, ttl_ms: int, command: str) -> int:
    """Return the moment `ttl_ms` from now.

    `ResponseError` with Redis's message if it cannot be stored.
    """
    expires_ms = now_ms + ttl_ms
    if expires_ms > EXPIRY_MS_MAX or not INT64_MIN <= ttl_ms <= INT64_MAX:
        raise ResponseError(f"invalid expire time in '{command}' command")
    return expires_ms


def encode_keyspace(name: str) -> str:
    """Check and return the name of a keyspace."""
    if not isinstance(name, str) or not 0 < len(_utf8(name)) <= KEYSPACE_NAME_BYTES_MAX:
        raise DataError(f"a keyspace name must have 1 to {KEYSPACE_NAME_BYTES_MAX} bytes: found={name!r}")
    return name
