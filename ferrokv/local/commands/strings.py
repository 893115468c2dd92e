"""Strings: SET and its options, GET and its variants, substrings, and batches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from ...contract.encoding import Expiry, Write, check_positive, encode_moment, encode_ttl, expiry_at
from ...contract.limits import VALUE_BYTES_MAX
from ...errors import DataError, ResponseError
from ..log.transaction import Transaction
from ..storage.requests import Op
from ..tree.records import Records
from .collections import check_string
from .touched import reads_keys_at

TOO_LONG: Final = "string exceeds maximum allowed size (proto-max-bulk-len)"


class SetOptions(NamedTuple):
    """The options of SET besides key and value.

    At most one of the ways to set an expiry is used.
    """

    ttl_ms: int | None = None
    expires_ms: int | None = None
    nx: bool = False
    xx: bool = False
    keepttl: bool = False
    get: bool = False


PLAIN = SetOptions()


def make_set_options(
    ex: Expiry | None,
    px: Expiry | None,
    nx: bool,
    xx: bool,
    keepttl: bool,
    get: bool,
    exat: int | datetime | None,
    pxat: int | datetime | None,
) -> SetOptions:
    """Check the options of SET.

    `DataError` for mutually exclusive options, `ResponseError` for a TTL below 1 ms.
    """
    if ex is px is exat is pxat is None and not (nx or xx or keepttl or get):
        return PLAIN
    if sum(given is not None for given in (ex, px, exat, pxat)) + keepttl > 1:
        raise DataError("``ex``, ``px``, ``exat``, ``pxat`` and ``keepttl`` are mutually exclusive.")
    if nx and xx:
        raise DataError("``nx`` and ``xx`` are mutually exclusive.")
    ttl_ms = expires_ms = None
    if ex is not None:
        ttl_ms = encode_ttl(ex)
    elif px is not None:
        ttl_ms = encode_ttl(px, unit_ms=1)
    elif exat is not None:
        expires_ms = encode_moment(exat)
    elif pxat is not None:
        expires_ms = encode_moment(pxat, unit_ms=1)
    check_positive(ttl_ms, "set")
    check_positive(expires_ms, "set")
    return SetOptions(ttl_ms, expires_ms, nx, xx, keepttl, get)


def set_value(tx: Transaction, key: bytes, value: bytes, options: SetOptions) -> bool | bytes | None:
    """SET. Returns True, or None if nx or xx prevented it; with `get`, the old value or None."""
    if options is PLAIN:
        tx.put(key, value)
        return True
    old = tx.get(key) if options.nx or options.xx or options.keepttl or options.get else None
    if options.get:
        check_string(old)
    if (options.nx and old is not None) or (options.xx and old is None):
        return old[0] if options.get and old is not None else None
    expires_ms = 0
    if options.ttl_ms is not None:
        expires_ms = expiry_at(tx.now_ms, options.ttl_ms, "set")
    elif options.expires_ms is not None:
        expires_ms = expiry_at(0, options.expires_ms, "set")
    elif options.keepttl and old is not None:
        expires_ms = old[1]
    tx.put(key, value, expires_ms)
    if options.get:
        return None if old is None else old[0]
    return True


def set_with_ttl(tx: Transaction, key: bytes, value: bytes, ttl_ms: int, command: str) -> bool:
    """SETEX and PSETEX. Returns True. The TTL is positive."""
    tx.put(key, value, expiry_at(tx.now_ms, ttl_ms, command))
    return True


def set_if_missing(tx: Transaction, key: bytes, value: bytes) -> bool:
    """SETNX. Returns True if there was no such key."""
    if tx.get(key) is not None:
        return False
    tx.put(key, value)
    return True


def get_and_expire(
    tx: Transaction, key: bytes, ttl_ms: int | None, expires_ms: int | None, persist: bool
) -> bytes | None:
    """GETEX. Returns the value or None.

    It then expires after `ttl_ms`, at `expires_ms`, never with `persist`, or otherwise as before.
    """
    found = check_string(tx.get(key))
    if found is None:
        return None
    # As in Redis, checked only if there is a string.
    check_positive(ttl_ms, "getex")
    check_positive(expires_ms, "getex")
    value, old_ms = found
    if persist:
        if old_ms:
            tx.put(key, value)
    elif ttl_ms is not None or expires_ms is not None:
        at = expiry_at(tx.now_ms, ttl_ms, "getex") if ttl_ms is not None else expiry_at(0, expires_ms or 0, "getex")
        if at <= tx.now_ms:
            tx.delete(key)
        else:
            tx.put(key, value, at)
    return value


def get_and_delete(tx: Transaction, key: bytes) -> bytes | None:
    """GETDEL. Deletes the key and returns the value, or None."""
    found = check_string(tx.get(key))
    if found is None:
        return None
    tx.delete(key)
    return found[0]


def get_and_set(tx: Transaction, key: bytes, value: bytes) -> bytes | None:
    """GETSET. Sets the value, removes the TTL, and returns the old value or None."""
    found = check_string(tx.get(key))
    tx.put(key, value)
    return None if found is None else found[0]


def append(tx: Transaction, key: bytes, value: bytes) -> int:
    """APPEND. Returns the new length. The TTL stays."""
    found = check_string(tx.get(key)) or (b"", 0)
    tx.put(key, _checked(found[0] + value), found[1])
    return len(found[0]) + len(value)


def set_range(tx: Transaction, key: bytes, offset: int, value: bytes) -> int:
    """SETRANGE. Returns the new length. Zeros fill a gap, and the TTL stays."""
    if offset < 0:
        raise ResponseError("offset is out of range")
    found = check_string(tx.get(key)) or (b"", 0)
    old = found[0]
    if not value:
        return len(old)
    if offset + len(value) > VALUE_BYTES_MAX:
        raise ResponseError(TOO_LONG)
    new = old[:offset].ljust(offset, b"\0") + value + old[offset + len(value) :]
    tx.put(key, new, found[1])
    return len(new)


def _checked(value: bytes) -> bytes:
    if len(value) > VALUE_BYTES_MAX:
        raise ResponseError(TOO_LONG)
    return value


def compare_and_set(tx: Transaction, key: bytes, expected: bytes, value: bytes, ttl_ms: int | None) -> bool:
    """Set the value if the key holds `expected`, and return True if it did.

    The TTL stays, unless `ttl_ms` sets a new one.
    """
    found = check_string(tx.get(key))
    if found is None or found[0] != expected:
        return False
    tx.put(key, value, found[1] if ttl_ms is None else expiry_at(tx.now_ms, ttl_ms, "set"))
    return True


def compare_and_delete(tx: Transaction, key: bytes, expected: bytes) -> bool:
    """Delete the key if it holds `expected`, and return True if it did."""
    found = check_string(tx.get(key))
    if found is None or found[0] != expected:
        return False
    tx.delete(key)
    return True


def write_many(tx: Transaction, writes: Iterable[Write]) -> bool:
    """MSET and batches. Writes in order, so the last write to a key wins. Returns True."""
    now_ms = tx.now_ms
    for key, value, ttl_ms in writes:
        if value is None:
            tx.delete(key)
        elif ttl_ms is None:
            tx.put(key, value)
        else:
            tx.put(key, value, expiry_at(now_ms, ttl_ms, "set"))
    return True


def write_if_all_missing(tx: Transaction, writes: Sequence[Write]) -> bool:
    """MSETNX. Writes only if none of the keys exists, and returns True if it did."""
    return not any(tx.get(key) is not None for key, _, _ in writes) and write_many(tx, writes)


@reads_keys_at(0)
def get(records: Records, key: bytes) -> Op[bytes | None]:
    """GET. `ResponseError` for a collection."""
    found = check_string((yield from records.find(key)))
    return None if found is None else found[0]


@reads_keys_at(0)
def get_many(records: Records, keys: Sequence[bytes]) -> Op[list[bytes | None]]:
    """MGET.

    The values in the order of the keys, as of one moment; None for missing keys and collections.
    """
    found = yield from records.find_all(keys)
    return [one[0] if one is not None and one[0].__class__ is bytes else None for one in found]


@reads_keys_at(0)
def length(records: Records, key: bytes) -> Op[int]:
    """STRLEN. The length in bytes; 0 if there is no such key."""
    return len((yield from get(records, key)) or b"")


@reads_keys_at(0)
def get_range(records: Records, key: bytes, start: int, end: int) -> Op[bytes]:
    """GETRANGE. The bytes from `start` to `end`, both included.

    Negative positions count from the end.
    """
    value = (yield from get(records, key)) or b""
    if start < 0 and end < 0 and start > end:
        return b""
    first, last = span(start, end, len(value))
    return value[first:last]


def span(start: int, end: int, size: int) -> tuple[int, int]:
    """Convert Redis's inclusive byte range to [first, last)."""
    first = max(start + size if start < 0 else start, 0)
    last = min(max(end + size if end < 0 else end, 0), size - 1) + 1
    return first, max(first, last)
