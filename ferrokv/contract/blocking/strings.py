# Made by `python -m tools.make_twins` from contract/aio/strings.py; edit that.
"""Commands on strings, counters and bits."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, Protocol, overload

from ..batch import WriteBatch
from ..encoding import Expiry, Key, Names, Value


class BlockingStringReads(Protocol):
    """Commands that read strings."""

    def get(self, name: Key) -> bytes | None:
        """Return a string's value, or None."""

    def mget(self, keys: Names, *args: Key) -> list[bytes | None]:
        """Return the values in the order of the keys, as of one moment; None for missing keys."""

    def strlen(self, name: Key) -> int:
        """Return the value's length in bytes; 0 if there is no such key."""

    def getrange(self, key: Key, start: int, end: int) -> bytes:
        """Return the bytes from `start` to `end`, both included."""

    def substr(self, name: Key, start: int, end: int = -1) -> bytes:
        """As `getrange`."""

    def getbit(self, name: Key, offset: int) -> int:
        """Return the bit at `offset`. Bit 0 is the highest bit of the first byte."""

    def bitcount(self, key: Key, start: int | None = None, end: int | None = None, mode: str | None = None) -> int:
        """Return how many bits are set, in the whole value or from byte `start` to byte `end`."""

    def bitpos(
        self, key: Key, bit: int, start: int | None = None, end: int | None = None, mode: str | None = None
    ) -> int:
        """Return the position of the first bit equal to `bit` from `start` to `end`, or -1."""


class BlockingStringWrites(Protocol):
    """Commands that write strings."""

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

    def set_ex(self, name: Key, value: Value, ttl: Expiry) -> bool:
        """Set the value with a TTL in seconds or as a timedelta, exact to the millisecond."""

    def setex(self, name: Key, time: Expiry, value: Value) -> bool:
        """As `set_ex`, with redis-py's order of arguments."""

    def psetex(self, name: Key, time_ms: Expiry, value: Value) -> bool:
        """As `setex`, in milliseconds."""

    def setnx(self, name: Key, value: Value) -> bool:
        """Set the value if there is no such key. Returns True if it was set."""

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

    def getdel(self, name: Key) -> bytes | None:
        """Return the value or None, and delete the key."""

    def getset(self, name: Key, value: Value) -> bytes | None:
        """Set the value, remove the TTL, and return the old value or None."""

    def append(self, key: Key, value: Value) -> int:
        """Append to the value and return the new length. The TTL stays."""

    def setrange(self, name: Key, offset: int, value: Value) -> int:
        """Overwrite the value from `offset` on and return the new length. Zeros fill a gap."""

    def setbit(self, name: Key, offset: int, value: int) -> int:
        """Set the bit at `offset`, and return the old bit."""

    def bitop(self, operation: str, dest: Key, *keys: Key) -> int:
        """Combine the values with "AND", "OR", "XOR" or "NOT"; store the result at `dest`."""

    def compare_and_set(
        self, name: Key, expected: Value, value: Value, ex: Expiry | None = None, px: Expiry | None = None
    ) -> bool:
        """Set `value` if the key holds `expected`, and return True if it did."""

    def compare_and_delete(self, name: Key, expected: Value) -> bool:
        """Delete the key if it holds `expected`, and return True if it did."""

    def mset(self, mapping: Mapping[Any, Value]) -> bool:
        """Set all keys of the mapping atomically. Returns True."""

    def msetnx(self, mapping: Mapping[Any, Value]) -> bool:
        """Set all keys of the mapping if none of them exists. Returns True if they were set."""

    def write(self, batch: WriteBatch) -> bool:
        """Apply the batch atomically, with one frame and one sync. Returns True."""

    @overload
    def incrby(self, name: Key, amount: int = 1, *, xx: Literal[False] = False) -> int: ...

    @overload
    def incrby(self, name: Key, amount: int = 1, *, xx: bool) -> int | None: ...

    def incrby(self, name: Key, amount: int = 1, *, xx: bool = False) -> int | None:
        """Add to the counter and return the result. The TTL stays."""

    @overload
    def incr(self, name: Key, amount: int = 1, *, xx: Literal[False] = False) -> int: ...

    @overload
    def incr(self, name: Key, amount: int = 1, *, xx: bool) -> int | None: ...

    def incr(self, name: Key, amount: int = 1, *, xx: bool = False) -> int | None:
        """As `incrby`."""

    @overload
    def decrby(self, name: Key, amount: int = 1, *, xx: Literal[False] = False) -> int: ...

    @overload
    def decrby(self, name: Key, amount: int = 1, *, xx: bool) -> int | None: ...

    def decrby(self, name: Key, amount: int = 1, *, xx: bool = False) -> int | None:
        """Subtract from the counter; otherwise as `incrby`."""

    @overload
    def decr(self, name: Key, amount: int = 1, *, xx: Literal[False] = False) -> int: ...

    @overload
    def decr(self, name: Key, amount: int = 1, *, xx: bool) -> int | None: ...

    def decr(self, name: Key, amount: int = 1, *, xx: bool = False) -> int | None:
        """As `decrby`."""

    def incrbyfloat(self, name: Key, amount: float = 1.0) -> float:
        """Add to the number, in 80-bit extended precision, and return the result. The TTL stays."""
