"""Time to live: EXPIRE, PERSIST and TTL."""

from __future__ import annotations

from ...contract.encoding import INT64_MIN, expiry_at
from ...errors import ResponseError
from ..log.transaction import Transaction
from ..storage.requests import Op
from ..tree.records import Records
from .collections import touched
from .touched import reads_keys_at

TTL_MISSING = -2
TTL_NONE = -1


Flags = tuple[bool, bool, bool, bool]
"""nx, xx, gt, lt"""


def check_flags(nx: bool, xx: bool, gt: bool, lt: bool) -> Flags:
    """Check the flags. `ResponseError` with Redis's message for mutually exclusive ones."""
    if nx and (xx or gt or lt):
        raise ResponseError("NX and XX, GT or LT options at the same time are not compatible")
    if gt and lt:
        raise ResponseError("GT and LT options at the same time are not compatible")
    return nx, xx, gt, lt


def expire(tx: Transaction, key: bytes, ttl_ms: int, flags: Flags, command: str) -> bool:
    """EXPIRE and PEXPIRE with (nx, xx, gt, lt).

    True if the TTL was set; one in the past deletes the key.
    """
    expires_ms = expiry_at(tx.now_ms, ttl_ms, command)
    found = tx.get(key)
    if found is None:
        return False
    value, old_ms = found
    nx, xx, gt, lt = flags
    # As in Redis, a key without a TTL counts as one with an infinite TTL.
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
        tx.put(key, touched(value), expires_ms)
    return True


def persist(tx: Transaction, key: bytes) -> bool:
    """PERSIST. Returns True if the key had a TTL."""
    found = tx.get(key)
    if found is None or not found[1]:
        return False
    tx.put(key, touched(found[0]))
    return True


def expire_at(tx: Transaction, key: bytes, expires_ms: int, flags: Flags, command: str) -> bool:
    """EXPIREAT and PEXPIREAT: `expire`, at a moment in ms since 1970."""
    expiry_at(0, expires_ms, command)
    return expire(tx, key, max(expires_ms - tx.now_ms, INT64_MIN), flags, command)


@reads_keys_at(0)
def pttl(records: Records, key: bytes) -> Op[int]:
    """PTTL. Milliseconds; -1 without a TTL, -2 if there is no such key."""
    found = yield from records.find(key)
    if found is None:
        return TTL_MISSING
    return found[1] - records.now_ms if found[1] else TTL_NONE


@reads_keys_at(0)
def ttl(records: Records, key: bytes) -> Op[int]:
    """TTL. As `pttl`, in seconds, rounded as by Redis."""
    return _seconds((yield from pttl(records, key)))


@reads_keys_at(0)
def pexpiretime(records: Records, key: bytes) -> Op[int]:
    """PEXPIRETIME. When the key expires, in ms since 1970; -1 without a TTL, -2 without the key."""
    found = yield from records.find(key)
    return TTL_MISSING if found is None else found[1] or TTL_NONE


@reads_keys_at(0)
def expiretime(records: Records, key: bytes) -> Op[int]:
    """EXPIRETIME. As `pexpiretime`, in seconds."""
    return _seconds((yield from pexpiretime(records, key)))


def _seconds(ms: int) -> int:
    return ms if ms < 0 else (ms + 500) // 1000
