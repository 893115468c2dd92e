# Made by `python -m tools.make_twins` from contract/aio/cache_commands.py; edit that.
"""The commands that the adapters need."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Literal, Protocol, TypeVar, overload

from ..batch import WriteBatch
from ..encoding import Cast, Expiry, Key, Names, Value

T = TypeVar("T")


class BlockingCacheCommands(Protocol):
    """The commands that the adapters need."""

    def exists(self, *names: Key) -> int:
        """Return how many of the keys exist. A key named twice counts twice."""

    def pttl(self, name: Key) -> int:
        """Return the remaining milliseconds; -1 without a TTL, -2 without the key."""

    def keys(self, pattern: Key = b"*") -> list[bytes]:
        """Return all keys that match the glob, in key order. O(keys with its literal prefix)."""

    def delete(self, *names: Key) -> int:
        """Delete the keys, and return how many existed. O(1) for each, whatever it holds."""

    def rename(self, src: Key, dst: Key) -> bool:
        """Move the value and TTL of `src` to `dst`, replacing `dst`. Returns True. O(1)."""

    def expire(
        self, name: Key, time: Expiry, nx: bool = False, xx: bool = False, gt: bool = False, lt: bool = False
    ) -> bool:
        """Set the TTL to `time` seconds. Returns True if the key exists and the flags allow it."""

    def pexpire(
        self, name: Key, time: Expiry, nx: bool = False, xx: bool = False, gt: bool = False, lt: bool = False
    ) -> bool:
        """As `expire`, in milliseconds."""

    def expireat(
        self, name: Key, when: int | datetime, nx: bool = False, xx: bool = False, gt: bool = False, lt: bool = False
    ) -> bool:
        """As `expire`, at a moment given in seconds since 1970 or as a datetime."""

    def pexpireat(
        self, name: Key, when: int | datetime, nx: bool = False, xx: bool = False, gt: bool = False, lt: bool = False
    ) -> bool:
        """As `expireat`, in milliseconds."""

    def persist(self, name: Key) -> bool:
        """Remove the TTL. Returns True if the key had one."""

    def delete_range(self, start: Key | None = None, end: Key | None = None, *, prefix: Key | None = None) -> int:
        """Atomically delete the keys of [start, end) that have the prefix, and return their number."""

    def set_quota(self, max_bytes: int | None) -> bool:
        """Limit the keyspace to about `max_bytes` of tables on disk. Returns True."""

    def flushdb(self) -> bool:
        """Empty the keyspace with one durable record, whatever its size. Returns True."""

    def get(self, name: Key) -> bytes | None:
        """Return a string's value, or None."""

    def mget(self, keys: Names, *args: Key) -> list[bytes | None]:
        """Return the values in the order of the keys, as of one moment; None for missing keys."""

    @overload
    def set(
        self,
        name: Key,
        value: Value,
        ex: Expiry | None = None,
        px: Expiry | None = None,
        nx: bool = False,
        xx: bool = False,
        keepttl: bool = False,
        get: Literal[False] = False,
        exat: int | datetime | None = None,
        pxat: int | datetime | None = None,
    ) -> bool | None: ...

    @overload
    def set(
        self,
        name: Key,
        value: Value,
        ex: Expiry | None = None,
        px: Expiry | None = None,
        nx: bool = False,
        xx: bool = False,
        keepttl: bool = False,
        *,
        get: Literal[True],
        exat: int | datetime | None = None,
        pxat: int | datetime | None = None,
    ) -> bytes | None: ...

    def set(
        self,
        name: Key,
        value: Value,
        ex: Expiry | None = None,
        px: Expiry | None = None,
        nx: bool = False,
        xx: bool = False,
        keepttl: bool = False,
        get: bool = False,
        exat: int | datetime | None = None,
        pxat: int | datetime | None = None,
    ) -> bool | bytes | None:
        """Set the value. Returns True, or None if `nx` or `xx` prevented it."""

    def psetex(self, name: Key, time_ms: Expiry, value: Value) -> bool:
        """As `setex`, in milliseconds."""

    def getex(
        self,
        name: Key,
        ex: Expiry | None = None,
        px: Expiry | None = None,
        exat: int | datetime | None = None,
        pxat: int | datetime | None = None,
        persist: bool = False,
    ) -> bytes | None:
        """Return the value or None, and change its TTL."""

    def compare_and_set(
        self, name: Key, expected: Value, value: Value, ex: Expiry | None = None, px: Expiry | None = None
    ) -> bool:
        """Set `value` if the key holds `expected`, and return True if it did."""

    def compare_and_delete(self, name: Key, expected: Value) -> bool:
        """Delete the key if it holds `expected`, and return True if it did."""

    def write(self, batch: WriteBatch) -> bool:
        """Apply the batch atomically, with one frame and one sync. Returns True."""

    @overload
    def incr(self, name: Key, amount: int = 1, *, xx: Literal[False] = False) -> int: ...

    @overload
    def incr(self, name: Key, amount: int = 1, *, xx: bool) -> int | None: ...

    def incr(self, name: Key, amount: int = 1, *, xx: bool = False) -> int | None:
        """As `incrby`."""

    @overload
    def zadd(
        self,
        name: Key,
        mapping: Mapping[Any, Value],
        nx: bool = False,
        xx: bool = False,
        ch: bool = False,
        incr: Literal[False] = False,
        gt: bool = False,
        lt: bool = False,
    ) -> int: ...

    @overload
    def zadd(
        self,
        name: Key,
        mapping: Mapping[Any, Value],
        nx: bool = False,
        xx: bool = False,
        ch: bool = False,
        *,
        incr: Literal[True],
        gt: bool = False,
        lt: bool = False,
    ) -> float | None: ...

    def zadd(
        self,
        name: Key,
        mapping: Mapping[Any, Value],
        nx: bool = False,
        xx: bool = False,
        ch: bool = False,
        incr: bool = False,
        gt: bool = False,
        lt: bool = False,
    ) -> int | float | None:
        """Set scores, and return how many members are new; with `ch`, how many are new or changed."""

    def zrem(self, name: Key, *values: Value) -> int:
        """Remove members, and return how many existed."""

    def zremrangebyscore(self, name: Key, min: Value, max: Value) -> int:
        """Remove the members with a score from `min` to `max`, and return how many there were."""

    @overload
    def zrange(
        self,
        name: Key,
        start: Value,
        end: Value,
        desc: bool = False,
        withscores: Literal[False] = False,
        score_cast_func: Cast = float,
        byscore: bool = False,
        bylex: bool = False,
        offset: int | None = None,
        num: int | None = None,
    ) -> list[bytes]: ...

    @overload
    def zrange(
        self,
        name: Key,
        start: Value,
        end: Value,
        desc: bool = False,
        *,
        withscores: Literal[True],
        byscore: bool = False,
        bylex: bool = False,
        offset: int | None = None,
        num: int | None = None,
    ) -> list[tuple[bytes, float]]: ...

    @overload
    def zrange(
        self,
        name: Key,
        start: Value,
        end: Value,
        desc: bool = False,
        *,
        withscores: Literal[True],
        score_cast_func: Callable[[float], T],
        byscore: bool = False,
        bylex: bool = False,
        offset: int | None = None,
        num: int | None = None,
    ) -> list[tuple[bytes, T]]: ...

    def zrange(
        self,
        name: Key,
        start: Value,
        end: Value,
        desc: bool = False,
        withscores: bool = False,
        score_cast_func: Cast = float,
        byscore: bool = False,
        bylex: bool = False,
        offset: int | None = None,
        num: int | None = None,
    ) -> list[bytes] | list[tuple[bytes, Any]]:
        """Return the members of a range, in order, or in reverse order with `desc`."""
