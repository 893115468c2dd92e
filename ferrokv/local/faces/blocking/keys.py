# Made by `python -m tools.make_twins` from local/faces/aio/keys.py; edit that.
"""Commands on keys of any type, and on their TTLs."""

from __future__ import annotations

from datetime import datetime

from ....contract.encoding import Expiry, Key, encode_bound, encode_key, encode_moment, encode_ttl
from ....errors import DataError
from ....stats import KeyspaceStats
from ...commands import expiry, keys, keyspaces
from ...commands.scans import make_range
from ..arguments import check_quota, encode_some_names
from .command_base import CommandBase


class BlockingKeyReads(CommandBase):
    """Commands that read keys."""

    __slots__ = ()

    def exists(self, *names: Key) -> int:
        """Return how many of the keys exist. A key named twice counts twice."""
        return self._query(keys.exists, encode_some_names(names, (), "exists"))

    def touch(self, *args: Key) -> int:
        """As `exists`. There is no last-access time to update."""
        return self._query(keys.exists, encode_some_names(args, (), "touch"))

    def type(self, name: Key) -> bytes:
        """Return `string`, `list`, `hash`, `set` or `zset`, or `none` if there is no such key."""
        return self._query(keys.type_of, encode_key(name))

    def ttl(self, name: Key) -> int:
        """Return the remaining seconds, rounded; -1 without a TTL, -2 without the key."""
        return self._query(expiry.ttl, encode_key(name))

    def pttl(self, name: Key) -> int:
        """Return the remaining milliseconds; -1 without a TTL, -2 without the key."""
        return self._query(expiry.pttl, encode_key(name))

    def expiretime(self, key: Key) -> int:
        """Return when the key expires, in seconds since 1970; -1 without TTL, -2 without key."""
        return self._query(expiry.expiretime, encode_key(key))

    def pexpiretime(self, key: Key) -> int:
        """As `expiretime`, in milliseconds."""
        return self._query(expiry.pexpiretime, encode_key(key))

    def keys(self, pattern: Key = b"*") -> list[bytes]:
        """Return all keys that match the glob, in key order. O(keys with its literal prefix)."""
        return self._query(keys.matching, encode_bound(pattern) or b"")

    def keyspaces(self) -> dict[str, KeyspaceStats]:
        """Return every keyspace of the store by name, with its keys, bytes and quota. O(n).

        Bytes include 20 for each record.
        """
        return self._query(keyspaces.list_all)

    def dbsize(self) -> int:
        """Return the number of keys in the keyspace. O(n)."""
        return self._query(keys.count)

    def randomkey(self) -> bytes | None:
        """Return a random key, all with the same probability, or None. O(n)."""
        return self._query(keys.random_key)


class BlockingKeyWrites(CommandBase):
    """Commands that write keys."""

    __slots__ = ()

    def delete(self, *names: Key) -> int:
        """Delete the keys, and return how many existed. O(1) for each, whatever it holds."""
        return self._write(keys.delete, encode_some_names(names, (), "del"))

    def unlink(self, *names: Key) -> int:
        """As `delete`."""
        return self._write(keys.delete, encode_some_names(names, (), "unlink"))

    def rename(self, src: Key, dst: Key) -> bool:
        """Move the value and TTL of `src` to `dst`, replacing `dst`. Returns True. O(1).

        `ResponseError` if there is no `src`.
        """
        return self._write(keys.rename, encode_key(src), encode_key(dst))

    def renamenx(self, src: Key, dst: Key) -> bool:
        """As `rename`, but return False and change nothing if `dst` exists."""
        return self._write(keys.rename_if_missing, encode_key(src), encode_key(dst))

    def copy(self, source: Key, destination: Key, destination_db: None = None, replace: bool = False) -> bool:
        """Copy `source` to `destination` and return True.

        Returns False if there is no `source`, or if `destination` exists and `replace` is not set.
        """
        if destination_db is not None:
            raise DataError("keyspaces have names, not numbers: copy in a transaction instead")
        return self._write(keys.copy, encode_key(source), encode_key(destination), replace)

    def expire(
        self, name: Key, time: Expiry, nx: bool = False, xx: bool = False, gt: bool = False, lt: bool = False
    ) -> bool:
        """Set the TTL to `time` seconds. Returns True if the key exists and the flags allow it.

        A TTL of zero or less deletes the key. The flags are those of Redis 7.
        """
        flags = expiry.check_flags(nx, xx, gt, lt)
        return self._write(expiry.expire, encode_key(name), encode_ttl(time), flags, "expire")

    def pexpire(
        self, name: Key, time: Expiry, nx: bool = False, xx: bool = False, gt: bool = False, lt: bool = False
    ) -> bool:
        """As `expire`, in milliseconds."""
        flags = expiry.check_flags(nx, xx, gt, lt)
        return self._write(expiry.expire, encode_key(name), encode_ttl(time, unit_ms=1), flags, "pexpire")

    def expireat(
        self,
        name: Key,
        when: int | datetime,
        nx: bool = False,
        xx: bool = False,
        gt: bool = False,
        lt: bool = False,
    ) -> bool:
        """As `expire`, at a moment given in seconds since 1970 or as a datetime."""
        flags = expiry.check_flags(nx, xx, gt, lt)
        return self._write(expiry.expire_at, encode_key(name), encode_moment(when), flags, "expireat")

    def pexpireat(
        self,
        name: Key,
        when: int | datetime,
        nx: bool = False,
        xx: bool = False,
        gt: bool = False,
        lt: bool = False,
    ) -> bool:
        """As `expireat`, in milliseconds."""
        flags = expiry.check_flags(nx, xx, gt, lt)
        when_ms = encode_moment(when, unit_ms=1)
        return self._write(expiry.expire_at, encode_key(name), when_ms, flags, "pexpireat")

    def persist(self, name: Key) -> bool:
        """Remove the TTL. Returns True if the key had one."""
        return self._write(expiry.persist, encode_key(name))

    def delete_range(self, start: Key | None = None, end: Key | None = None, *, prefix: Key | None = None) -> int:
        """Atomically delete the keys of [start, end) that have the prefix, and return their number.

        O(range), not O(keyspace). `DataError` for more than 131,072 keys: delete them in smaller
        ranges, or keep them in a keyspace of their own.
        """
        wanted = make_range(start, end, prefix, False, None)
        return self._write(keyspaces.delete_range, wanted.low, wanted.high)

    def set_quota(self, max_bytes: int | None) -> bool:
        """Limit the keyspace to about `max_bytes` of tables on disk. Returns True.

        None removes the limit. Above it, expired keys are evicted first, then the least used, and
        among those the ones that expire soonest. Writers of this keyspace that outpace eviction
        wait, and raise `StoreBusy` after `busy_timeout`. A value larger than the quota is refused
        with `DataError`. A keyspace without a quota never evicts. docs/quotas.md says how large the
        directory may get.
        """
        return self._write(keyspaces.set_quota, check_quota(max_bytes))

    def flushdb(self) -> bool:
        """Empty the keyspace with one durable record, whatever its size. Returns True.

        Other keyspaces are not affected.
        """
        return self._write(keys.clear)
