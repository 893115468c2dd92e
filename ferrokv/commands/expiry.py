"""Time to live: EXPIRE, PERSIST, TTL."""

from __future__ import annotations

from ..engine.clock import Clock
from ..engine.read import live, read_entry
from ..engine.transaction import Transaction
from ..engine.view import View
from ..errors import ResponseError
from ..storage.requests import Op
from .encoding import expiry_at

TTL_MISSING = -2
TTL_NONE = -1


def check_flags(nx: bool, xx: bool, gt: bool, lt: bool) -> None:
    """`ResponseError` in Redis's words for flags that exclude each other."""
    if nx and (xx or gt or lt):
        raise ResponseError("NX and XX, GT or LT options at the same time are not compatible")
    if gt and lt:
        raise ResponseError("GT and LT options at the same time are not compatible")


def expire(tx: Transaction, key: bytes, ttl_ms: int, flags: tuple[bool, bool, bool, bool], command: str) -> bool:
    """EXPIRE and PEXPIRE with (nx, xx, gt, lt). True if the key got the TTL; one in the past deletes the key."""
    found = tx.get(key)
    if found is None:
        return False
    value, old_ms = found
    expires_ms = expiry_at(tx.now_ms, ttl_ms, command)
    nx, xx, gt, lt = flags
    # A key without TTL counts as one with an infinite TTL, as in Redis.
    if (
        (nx and old_ms)
        or (xx and not old_ms)
        or (gt and (not old_ms or expires_ms <= old_ms))
        or (lt and old_ms and expires_ms >= old_ms)
    ):
        return False
    if expires_ms <= tx.now_ms:
        tx.delete(key)
    else:
        tx.put(key, value, expires_ms)
    return True


def persist(tx: Transaction, key: bytes) -> bool:
    """PERSIST. True if the key had a TTL."""
    found = tx.get(key)
    if found is None or not found[1]:
        return False
    tx.put(key, found[0])
    return True


def pttl(view: View, key: bytes | None, clock: Clock) -> Op[int]:
    """PTTL of an internal key: ms, -1 without TTL, -2 if there is no such key."""
    if key is None:
        return TTL_MISSING
    entry = yield from read_entry(view, key)
    now_ms = clock()
    if entry is None or not live(entry, now_ms):
        return TTL_MISSING
    return entry[1] - now_ms if entry[1] else TTL_NONE


def seconds_of(pttl_ms: int) -> int:
    """TTL from PTTL, rounded as Redis rounds it."""
    return pttl_ms if pttl_ms < 0 else (pttl_ms + 500) // 1000
