"""Strings: SET and its options, GETEX, MSET, and batches."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ..engine.transaction import Transaction
from ..errors import DataError, ResponseError
from .encoding import Expiry, encode_ttl, expiry_at


class SetOptions(NamedTuple):
    """What SET was asked for beyond key and value. At most one of the four ways to say an expiry is set."""

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
    exat: int | None,
    pxat: int | None,
) -> SetOptions:
    """Checked options. `DataError` for options that exclude each other, `ResponseError` for a TTL below 1 ms."""
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
        expires_ms = encode_ttl(exat)
    elif pxat is not None:
        expires_ms = encode_ttl(pxat, unit_ms=1)
    check_positive(ttl_ms, "set")
    check_positive(expires_ms, "set")
    return SetOptions(ttl_ms, expires_ms, nx, xx, keepttl, get)


def check_positive(ttl_ms: int | None, command: str) -> None:
    """`ResponseError` in Redis's words for a TTL of zero or less."""
    if ttl_ms is not None and ttl_ms <= 0:
        raise ResponseError(f"invalid expire time in '{command}' command")


def set_value(tx: Transaction, key: bytes, value: bytes, options: SetOptions) -> bool | bytes | None:
    """SET. True, or None when nx or xx forbade it; with `get`, the old value or None."""
    if options is PLAIN:
        tx.put(key, value)
        return True
    old = tx.get(key) if options.nx or options.xx or options.keepttl or options.get else None
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
    """SETEX and its kin. Always True; the TTL is positive."""
    tx.put(key, value, expiry_at(tx.now_ms, ttl_ms, command))
    return True


def get_and_expire(tx: Transaction, key: bytes, ttl_ms: int | None, persist: bool) -> bytes | None:
    """GETEX. The value or None; the TTL becomes `ttl_ms`, or is taken away with `persist`, or stays as it is."""
    found = tx.get(key)
    if found is None:
        return None
    value, expires_ms = found
    if persist:
        if expires_ms:
            tx.put(key, value)
    elif ttl_ms is not None:
        tx.put(key, value, expiry_at(tx.now_ms, ttl_ms, "getex"))
    return value


def compare_and_set(tx: Transaction, key: bytes, expected: bytes, value: bytes, ttl_ms: int | None) -> bool:
    """True if the key held `expected` and now holds `value`; its TTL stays, unless `ttl_ms` gives another."""
    found = tx.get(key)
    if found is None or found[0] != expected:
        return False
    tx.put(key, value, found[1] if ttl_ms is None else expiry_at(tx.now_ms, ttl_ms, "set"))
    return True


def compare_and_delete(tx: Transaction, key: bytes, expected: bytes) -> bool:
    """True if the key held `expected` and is now gone."""
    found = tx.get(key)
    if found is None or found[0] != expected:
        return False
    tx.delete(key)
    return True


Write = tuple[bytes, bytes | None, int | None]
"""(key, value or None to delete, ttl_ms or None)"""


def write_many(tx: Transaction, writes: Iterable[Write]) -> bool:
    """A batch, in order; the last write of a key counts. Always True."""
    now_ms = tx.now_ms
    for key, value, ttl_ms in writes:
        if value is None:
            tx.delete(key)
        elif ttl_ms is None:
            tx.put(key, value)
        else:
            tx.put(key, value, expiry_at(now_ms, ttl_ms, "set"))
    return True
