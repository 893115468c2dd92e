# Made by `python -m tools.make_contract` from local/faces/aio/keys.py; edit that.
"""Commands on keys of any type, and on their TTLs."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from ...stats import KeyspaceStats
from ..encoding import Expiry, Key


class AsyncKeyReads(Protocol):
    """Commands that read keys."""

    async def exists(self, *names: Key) -> int:
        """Return how many of the keys exist. A key named twice counts twice."""

    async def touch(self, *args: Key) -> int:
        """As `exists`. There is no last-access time to update."""

    async def type(self, name: Key) -> bytes:
        """Return `string`, `list`, `hash`, `set` or `zset`, or `none` if there is no such key."""

    async def ttl(self, name: Key) -> int:
        """Return the remaining seconds, rounded; -1 without a TTL, -2 without the key."""

    async def pttl(self, name: Key) -> int:
        """Return the remaining milliseconds; -1 without a TTL, -2 without the key."""

    async def expiretime(self, key: Key) -> int:
        """Return when the key expires, in seconds since 1970; -1 without TTL, -2 without key."""

    async def pexpiretime(self, key: Key) -> int:
        """As `expiretime`, in milliseconds."""

    async def keys(self, pattern: Key = b"*") -> list[bytes]:
        """Return all keys that match the glob, in key order. O(keys with its literal prefix)."""

    async def keyspaces(self) -> dict[str, KeyspaceStats]:
        """Return every keyspace of the store by name, with its keys, bytes and quota. O(n)."""

    async def dbsize(self) -> int:
        """Return the number of keys in the keyspace. O(n)."""

    async def randomkey(self) -> bytes | None:
        """Return a random key, all with the same probability, or None. O(n)."""


class AsyncKeyWrites(Protocol):
    """Commands that write keys."""

    async def delete(self, *names: Key) -> int:
        """Delete the keys, and return how many existed. O(1) for each, whatever it holds."""

    async def unlink(self, *names: Key) -> int:
        """As `delete`."""

    async def rename(self, src: Key, dst: Key) -> bool:
        """Move the value and TTL of `src` to `dst`, replacing `dst`. Returns True. O(1)."""

    async def renamenx(self, src: Key, dst: Key) -> bool:
        """As `rename`, but return False and change nothing if `dst` exists."""

    async def copy(self, source: Key, destination: Key, destination_db: None = None, replace: bool = False) -> bool:
        """Copy `source` to `destination` and return True."""

    async def expire(
        self, name: Key, time: Expiry, nx: bool = False, xx: bool = False, gt: bool = False, lt: bool = False
    ) -> bool:
        """Set the TTL to `time` seconds. Returns True if the key exists and the flags allow it."""

    async def pexpire(
        self, name: Key, time: Expiry, nx: bool = False, xx: bool = False, gt: bool = False, lt: bool = False
    ) -> bool:
        """As `expire`, in milliseconds."""

    async def expireat(
        self, name: Key, when: int | datetime, nx: bool = False, xx: bool = False, gt: bool = False, lt: bool = False
    ) -> bool:
        """As `expire`, at a moment given in seconds since 1970 or as a datetime."""

    async def pexpireat(
        self, name: Key, when: int | datetime, nx: bool = False, xx: bool = False, gt: bool = False, lt: bool = False
    ) -> bool:
        """As `expireat`, in milliseconds."""

    async def persist(self, name: Key) -> bool:
        """Remove the TTL. Returns True if the key had one."""

    async def delete_range(self, start: Key | None = None, end: Key | None = None, *, prefix: Key | None = None) -> int:
        """Atomically delete the keys of [start, end) that have the prefix, and return their number."""

    async def set_quota(self, max_bytes: int | None) -> bool:
        """Limit the keyspace to about `max_bytes` of tables on disk. Returns True."""

    async def flushdb(self) -> bool:
        """Empty the keyspace with one durable record, whatever its size. Returns True."""
