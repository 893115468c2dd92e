"""Locks: a key that holds its owner's token. The token names the owner's process.

So a lock is free once that process has ended. A token consists of the process's announcement (16
digits, or empty if it has none), a colon, and a part unique to the holder.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ...contract.encoding import expiry_at
from ..log.transaction import Transaction
from ..storage.requests import Op
from ..tree.records import Records
from .collections import check_string
from .touched import reading_appended, reads_keys_at


class Owners(NamedTuple):
    """The identity of this process, and how to tell whether another one is alive."""

    announced: str
    is_alive: Callable[[str], bool]
    random_bytes: Callable[[int], bytes]

    def new_token(self, chosen: bytes | None) -> bytes:
        """Return a token of this process.

        It is unique unless the caller chose the part after the colon.
        """
        return self.announced.encode() + b":" + (self.random_bytes(16).hex().encode() if chosen is None else chosen)

    def is_free(self, token: bytes) -> bool:
        """True if the process named by a token has ended."""
        name = name_in(token)
        return name != self.announced and not self.is_alive(name)


def name_in(token: bytes) -> str:
    """Return the announcement of the process that a token names."""
    return token.partition(b":")[0].decode("ascii", "replace")


class Held(NamedTuple):
    """The holder of a lock, and how long it lasts at most."""

    announced: str
    left_ms: int | None


def acquire(
    tx: Transaction, key: bytes, token: bytes, ttl_ms: int | None, owners: Owners, owed: bytes | None
) -> Held | None:
    """Take the lock and return None, or return its holder.

    The lock can be taken if it is free, if its holder's process has ended, or if its token is
    `owed`, a release that failed.
    """
    found = check_string(tx.get(key))
    if found is not None and found[0] != owed and not owners.is_free(found[0]):
        return Held(name_in(found[0]), found[1] - tx.now_ms if found[1] else None)
    tx.put(key, token, 0 if ttl_ms is None else expiry_at(tx.now_ms, ttl_ms, "set"))
    return None


def release(tx: Transaction, key: bytes, token: bytes) -> bool:
    """Release the lock. Returns True if the token had it."""
    found = tx.get(key)
    if found is None or found[0] != token:
        return False
    tx.free_lock(key)
    return True


def extend(tx: Transaction, key: bytes, token: bytes, ttl_ms: int, replace: bool) -> bool:
    """Let the lock last `ttl_ms` longer, or that long from now with `replace`.

    False if it was lost.
    """
    found = tx.get(key)
    if found is None or found[0] != token:
        return False
    left_ms = 0 if replace or not found[1] else found[1] - tx.now_ms
    tx.put(key, token, expiry_at(tx.now_ms, left_ms + ttl_ms, "pexpire"))
    return True


@reading_appended  # taking a lock need not be durable
def is_held(records: Records, key: bytes, owners: Owners) -> Op[bool]:
    """True if a living process has the lock."""
    found = check_string((yield from records.find(key)))
    return found is not None and not owners.is_free(found[0])


@reads_keys_at(0)
def holds(records: Records, key: bytes, token: bytes) -> Op[bool]:
    """True if the token has the lock."""
    found = yield from records.find(key)
    return found is not None and found[0] == token
