# Made by `python -m tools.make_twins` from local/faces/aio/keys.py; edit that.
"""Keys of any type, and their TTLs."""

from __future__ import annotations

from datetime import datetime

from ....errors import DataError
from ...commands import expiry, keys, keyspaces
from ...commands.encoding import Expiry, Key, encode_bound, encode_key, encode_moment, encode_ttl
from ...commands.keyspaces import KeyspaceStats
from ...commands.scans import make_range
from ..arguments import check_quota, encode_some_names
from .command_base import CommandBase


class BlockingKeyReads(CommandBase):
    """What can be asked of keys."""

    __slots__ = ()

    def exists(self, *names: Key) -> int:
        """How many of the keys there are; one named twice counts twice."""
        return self._query(keys.exists, encode_some_names(names, (), "exists"))

    def touch(self, *args: Key) -> int:
        """As `exists`: there is no time of last use to change."""
        return self._query(keys.exists, encode_some_names(args, (), "touch"))

    def type(self, name: Key) -> bytes:
        """`string`, `list`, `hash`, `set`, `zset`, or `none`."""
        return self._query(keys.type_of, encode_key(name))

    def ttl(self, name: Key) -> int:
        """Seconds to live, rounded; -1 without TTL, -2 if there is no such key."""
        return self._query(expiry.ttl, encode_key(name))

    def pttl(self, name: Key) -> int:
        """Milliseconds to live; -1 without TTL, -2 if there is no such key."""
        return self._query(expiry.pttl, encode_key(name))

    def expiretime(self, key: Key) -> int:
        """When the key expires, in seconds since 1970; -1 without TTL, -2 if there is no such key."""
        return self._query(expiry.expiretime, encode_key(key))

    def pexpiretime(self, key: Key) -> int:
        """As `expiretime`, in milliseconds."""
        return self._query(expiry.pexpiretime, encode_key(key))

    def keys(self, pattern: Key = b"*") -> list[bytes]:
        """All keys that match the glob, in key order. O(keys with its literal prefix)."""
        return self._query(keys.matching, encode_bound(pattern) or b"")

    def keyspaces(self) -> dict[str, KeyspaceStats]:
        """Each keyspace of the store by name: its keys, its bytes (20 for each record included), its quota. O(n)."""
        return self._query(keyspaces.list_all)

    def dbsize(self) -> int:
        """How many keys the keyspace has. O(n)."""
        return self._query(keys.count)

    def randomkey(self) -> bytes | None:
        """One of the keys, each with the same probability, or None. O(n)."""
        return self._query(keys.random_key)


class BlockingKeyWrites(CommandBase):
    """What can be done to keys."""

    __slots__ = ()

    def delete(self, *names: Key) -> int:
        """How many of the keys there were; they are gone. O(1) for each, whatever it holds."""
        return self._write(keys.delete, encode_some_names(names, (), "del"))

    def unlink(self, *names: Key) -> int:
        """As `delete`."""
        return self._write(keys.delete, encode_some_names(names, (), "unlink"))

    def rename(self, src: Key, dst: Key) -> bool:
        """True. The value and TTL of `src` are now at `dst`; `ResponseError` if there is no `src`. O(1)."""
        return self._write(keys.rename, encode_key(src), encode_key(dst))

    def renamenx(self, src: Key, dst: Key) -> bool:
        """As `rename`, unless there is a `dst`: then False."""
        return self._write(keys.rename_if_missing, encode_key(src), encode_key(dst))

    def copy(self, source: Key, destination: Key, destination_db: None = None, replace: bool = False) -> bool:
        """True if `destination` now holds what `source` does. False without `source`, or with `destination` unless `replace`."""
        if destination_db is not None:
            raise DataError("keyspaces have names: copy within a transaction instead")
        return self._write(keys.copy, encode_key(source), encode_key(destination), replace)

    def expire(
        self, name: Key, time: Expiry, nx: bool = False, xx: bool = False, gt: bool = False, lt: bool = False
    ) -> bool:
        """True if the key is there and now lives `time` seconds; one not above 0 deletes it. Flags as in Redis 7."""
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
        """As `expire`, at a moment in seconds since 1970 or a datetime."""
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
        """True if the key had a TTL; now it has none."""
        return self._write(expiry.persist, encode_key(name))

    def delete_range(self, start: Key | None = None, end: Key | None = None, *, prefix: Key | None = None) -> int:
        """How many keys of [start, end) that have the prefix there were; they are gone, at once. O(range), not O(keyspace).

        `DataError` for more than 131,072 keys: delete those by parts, or keep them in a keyspace of their own.
        """
        wanted = make_range(start, end, prefix, False, None)
        return self._write(keyspaces.delete_range, wanted.low, wanted.high)

    def set_quota(self, max_bytes: int | None) -> bool:
        """True. The keyspace takes about `max_bytes` of tables on disk from now on; None: as much as it will.

        Over it, what has expired goes first, then what is seldom used, of that what expires next. Writers of this keyspace that
        are faster than eviction wait, and raise `StoreBusy` after `busy_timeout`. A value larger than the quota is refused with
        `DataError`. A keyspace without a quota never loses anything. docs/quotas.md says how large the directory may get.
        """
        return self._write(keyspaces.set_quota, check_quota(max_bytes))

    def flushdb(self) -> bool:
        """True. The keyspace is empty: one durable record, whatever its size; other keyspaces are untouched."""
        return self._write(keys.clear)
