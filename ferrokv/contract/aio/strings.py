# Made by `python -m tools.make_contract` from local/faces/aio/strings.py; edit that.
"""Commands on strings, counters and bits."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, Protocol, overload

from ..batch import WriteBatch
from ..encoding import Expiry, Key, Names, Value


class AsyncStringReads(Protocol):
    """Commands that read strings."""

    async def get(self, name: Key) -> bytes | None:
        """Return a string's value, or None."""

    async def mget(self, keys: Names, *args: Key) -> list[bytes | None]:
        """Return the values in the order of the keys, as of one moment; None for missing keys."""

    async def strlen(self, name: Key) -> int:
        """Return the value's length in bytes; 0 if there is no such key."""

    async def getrange(self, key: Key, start: int, end: int) -> bytes:
        """Return the bytes from `start` to `end`, both included."""

    async def substr(self, name: Key, start: int, end: int = -1) -> bytes:
        """As `getrange`."""

    async def getbit(self, name: Key, offset: int) -> int:
        """Return the bit at `offset`. Bit 0 is the highest bit of the first byte."""

    async def bitcount(
        self, key: Key, start: int | None = None, end: int | None = None, mode: str | None = None
    ) -> int:
        """Return how many bits are set, in the whole value or from byte `start` to byte `end`."""

    async def bitpos(
        self, key: Key, bit: int, start: int | None = None, end: int | None = None, mode: str | None = None
    ) -> int:
        """Return the position of the first bit equal to `bit` from `start` to `end`, or -1."""


class AsyncStringWrites(Protocol):
    """Commands that write strings."""

    @overload
    async def set(
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
    async def set(
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

    async def set(
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

    async def set_ex(self, name: Key, value: Value, ttl: Expiry) -> bool:
        """Set the value with a TTL in seconds or as a timedelta, exact to the millisecond."""

    async def setex(self, name: Key, time: Expiry, value: Value) -> bool:
        """As `set_ex`, with redis-py's order of arguments."""

    async def psetex(self, name: Key, time_ms: Expiry, value: Value) -> bool:
        """As `setex`, in milliseconds."""

    async def setnx(self, name: Key, value: Value) -> bool:
        """Set the value if there is no such key. Returns True if it was set."""

    async def getex(
        self,
        name: Key,
        ex: Expiry | None = None,
        px: Expiry | None = None,
        exat: int | datetime | None = None,
        pxat: int | datetime | None = None,
        persist: bool = False,
    ) -> bytes | None:
        """Return the value or None, and change its TTL."""

    async def getdel(self, name: Key) -> bytes | None:
        """Return the value or None, and delete the key."""

    async def getset(self, name: Key, value: Value) -> bytes | None:
        """Set the value, remove the TTL, and return the old value or None."""

    async def append(self, key: Key, value: Value) -> int:
        """Append to the value and return the new length. The TTL stays."""

    async def setrange(self, name: Key, offset: int, value: Value) -> int:
        """Overwrite the value from `offset` on and return the new length. Zeros fill a gap."""

    async def setbit(self, name: Key, offset: int, value: int) -> int:
        """Set the bit at `offset`, and return the old bit."""

    async def bitop(self, operation: str, dest: Key, *keys: Key) -> int:
        """Combine the values with "AND", "OR", "XOR" or "NOT"; store the result at `dest`."""

    async def compare_and_set(
        self, name: Key, expected: Value, value: Value, ex: Expiry | None = None, px: Expiry | None = None
    ) -> bool:
        """Set `value` if the key holds `expected`, and return True if it did."""

    async def compare_and_delete(self, name: Key, expected: Value) -> bool:
        """Delete the key if it holds `expected`, and return True if it did."""

    async def mset(self, mapping: Mapping[Any, Value]) -> bool:
        """Set all keys of the mapping atomically. Returns True."""

    async def msetnx(self, mapping: Mapping[Any, Value]) -> bool:
        """Set all keys of the mapping if none of them exists. Returns True if they were set."""

    async def write(self, batch: WriteBatch) -> bool:
        """Apply the batch atomically, with one frame and one sync. Returns True."""

    @overload
    async def incrby(self, name: Key, amount: int = 1, *, xx: Literal[False] = False) -> int: ...

    @overload
    async def incrby(self, name: Key, amount: int = 1, *, xx: bool) -> int | None: ...

    async def incrby(self, name: Key, amount: int = 1, *, xx: bool = False) -> int | None:
        """Add to the counter and return the result. The TTL stays."""

    @overload
    async def incr(self, name: Key, amount: int = 1, *, xx: Literal[False] = False) -> int: ...

    @overload
    async def incr(self, name: Key, amount: int = 1, *, xx: bool) -> int | None: ...

    async def incr(self, name: Key, amount: int = 1, *, xx: bool = False) -> int | None:
        """As `incrby`."""

    @overload
    async def decrby(self, name: Key, amount: int = 1, *, xx: Literal[False] = False) -> int: ...

    @overload
    async def decrby(self, name: Key, amount: int = 1, *, xx: bool) -> int | None: ...

    async def decrby(self, name: Key, amount: int = 1, *, xx: bool = False) -> int | None:
        """Subtract from the counter; otherwise as `incrby`."""

    @overload
    async def decr(self, name: Key, amount: int = 1, *, xx: Literal[False] = False) -> int: ...

    @overload
    async def decr(self, name: Key, amount: int = 1, *, xx: bool) -> int | None: ...

    async def decr(self, name: Key, amount: int = 1, *, xx: bool = False) -> int | None:
        """As `decrby`."""

    async def incrbyfloat(self, name: Key, amount: float = 1.0) -> float:
        """Add to the number, in 80-bit extended precision, and return the result. The TTL stays."""
