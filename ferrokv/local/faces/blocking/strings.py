# Made by `python -m tools.make_twins` from local/faces/aio/strings.py; edit that.
"""Commands on strings, counters and bits."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, overload

from ....contract.batch import WriteBatch
from ....contract.encoding import Expiry, Key, Names, Value, encode_key, encode_value
from ...commands import bits, counters, strings
from ..arguments import (
    check_batch,
    check_bit,
    check_bit_range,
    check_int,
    check_offset,
    check_position_range,
    encode_getex,
    encode_mapping,
    encode_names,
    encode_new_ttl,
    encode_positive_ttl,
    encode_some_names,
    negative,
)
from .command_base import CommandBase


class BlockingStringReads(CommandBase):
    """Commands that read strings."""

    __slots__ = ()

    def get(self, name: Key) -> bytes | None:
        """Return a string's value, or None.

        Reads at most one block per level if memory does not have it.
        """
        return self._query(strings.get, encode_key(name))

    def mget(self, keys: Names, *args: Key) -> list[bytes | None]:
        """Return the values in the order of the keys, as of one moment; None for missing keys."""
        return self._query(strings.get_many, encode_names(keys, args))

    def strlen(self, name: Key) -> int:
        """Return the value's length in bytes; 0 if there is no such key."""
        return self._query(strings.length, encode_key(name))

    def getrange(self, key: Key, start: int, end: int) -> bytes:
        """Return the bytes from `start` to `end`, both included.

        Negative positions count from the end.
        """
        return self._query(strings.get_range, encode_key(key), check_int(start), check_int(end))

    def substr(self, name: Key, start: int, end: int = -1) -> bytes:
        """As `getrange`."""
        return self._query(strings.get_range, encode_key(name), check_int(start), check_int(end))

    def getbit(self, name: Key, offset: int) -> int:
        """Return the bit at `offset`. Bit 0 is the highest bit of the first byte."""
        return self._query(bits.get_bit, encode_key(name), check_offset(offset))

    def bitcount(self, key: Key, start: int | None = None, end: int | None = None, mode: str | None = None) -> int:
        """Return how many bits are set, in the whole value or from byte `start` to byte `end`.

        With mode "BIT", `start` and `end` are bit positions.
        """
        bounds = check_bit_range(start, end, mode)
        return self._query(bits.count, encode_key(key), *bounds, mode)

    def bitpos(
        self, key: Key, bit: int, start: int | None = None, end: int | None = None, mode: str | None = None
    ) -> int:
        """Return the position of the first bit equal to `bit` from `start` to `end`, or -1."""
        bounds = check_position_range(start, end, mode)
        return self._query(bits.position, encode_key(key), check_bit(bit), *bounds)


class BlockingStringWrites(CommandBase):
    """Commands that write strings."""

    __slots__ = ()

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
        """Set the value. Returns True, or None if `nx` or `xx` prevented it.

        With `get`, returns the old value or None instead.
        """
        options = strings.make_set_options(ex, px, nx, xx, keepttl, get, exat, pxat)
        return self._write(strings.set_value, encode_key(name), encode_value(value), options)

    def set_ex(self, name: Key, value: Value, ttl: Expiry) -> bool:
        """Set the value with a TTL in seconds or as a timedelta, exact to the millisecond.

        Returns True.
        """
        ttl_ms = encode_positive_ttl(ttl, "setex")
        return self._write(strings.set_with_ttl, encode_key(name), encode_value(value), ttl_ms, "setex")

    def setex(self, name: Key, time: Expiry, value: Value) -> bool:
        """As `set_ex`, with redis-py's order of arguments."""
        return self.set_ex(name, value, time)

    def psetex(self, name: Key, time_ms: Expiry, value: Value) -> bool:
        """As `setex`, in milliseconds."""
        ttl_ms = encode_positive_ttl(time_ms, "psetex", unit_ms=1)
        return self._write(strings.set_with_ttl, encode_key(name), encode_value(value), ttl_ms, "psetex")

    def setnx(self, name: Key, value: Value) -> bool:
        """Set the value if there is no such key. Returns True if it was set."""
        return self._write(strings.set_if_missing, encode_key(name), encode_value(value))

    def getex(
        self,
        name: Key,
        ex: Expiry | None = None,
        px: Expiry | None = None,
        exat: int | datetime | None = None,
        pxat: int | datetime | None = None,
        persist: bool = False,
    ) -> bytes | None:
        """Return the value or None, and change its TTL.

        `ex` (seconds) or `px` (milliseconds) sets the TTL, `exat` or `pxat` the moment of expiry,
        and `persist` removes the TTL. Without an option the TTL stays.
        """
        options = encode_getex(ex, px, exat, pxat, persist)
        return self._write(strings.get_and_expire, encode_key(name), *options)

    def getdel(self, name: Key) -> bytes | None:
        """Return the value or None, and delete the key."""
        return self._write(strings.get_and_delete, encode_key(name))

    def getset(self, name: Key, value: Value) -> bytes | None:
        """Set the value, remove the TTL, and return the old value or None."""
        return self._write(strings.get_and_set, encode_key(name), encode_value(value))

    def append(self, key: Key, value: Value) -> int:
        """Append to the value and return the new length. The TTL stays."""
        return self._write(strings.append, encode_key(key), encode_value(value))

    def setrange(self, name: Key, offset: int, value: Value) -> int:
        """Overwrite the value from `offset` on and return the new length. Zeros fill a gap."""
        return self._write(strings.set_range, encode_key(name), check_int(offset), encode_value(value))

    def setbit(self, name: Key, offset: int, value: int) -> int:
        """Set the bit at `offset`, and return the old bit."""
        return self._write(bits.set_bit, encode_key(name), check_offset(offset), value)

    def bitop(self, operation: str, dest: Key, *keys: Key) -> int:
        """Combine the values with "AND", "OR", "XOR" or "NOT"; store the result at `dest`.

        Returns the length of the result.
        """
        sources = encode_some_names(keys, (), "bitop")
        return self._write(bits.combine, operation, encode_key(dest), sources)

    def compare_and_set(
        self, name: Key, expected: Value, value: Value, ex: Expiry | None = None, px: Expiry | None = None
    ) -> bool:
        """Set `value` if the key holds `expected`, and return True if it did.

        The TTL stays, unless `ex` or `px` sets a new one.
        """
        ttl_ms = encode_new_ttl(ex, px)
        key, old, new = encode_key(name), encode_value(expected), encode_value(value)
        return self._write(strings.compare_and_set, key, old, new, ttl_ms)

    def compare_and_delete(self, name: Key, expected: Value) -> bool:
        """Delete the key if it holds `expected`, and return True if it did."""
        return self._write(strings.compare_and_delete, encode_key(name), encode_value(expected))

    def mset(self, mapping: Mapping[Any, Value]) -> bool:
        """Set all keys of the mapping atomically. Returns True."""
        return self._write(strings.write_many, encode_mapping(mapping, "mset"))

    def msetnx(self, mapping: Mapping[Any, Value]) -> bool:
        """Set all keys of the mapping if none of them exists. Returns True if they were set."""
        return self._write(strings.write_if_all_missing, encode_mapping(mapping, "msetnx"))

    def write(self, batch: WriteBatch) -> bool:
        """Apply the batch atomically, with one frame and one sync. Returns True."""
        return self._write(strings.write_many, check_batch(batch))

    @overload
    def incrby(self, name: Key, amount: int = 1, *, xx: Literal[False] = False) -> int: ...
    @overload
    def incrby(self, name: Key, amount: int = 1, *, xx: bool) -> int | None: ...
    def incrby(self, name: Key, amount: int = 1, *, xx: bool = False) -> int | None:
        """Add to the counter and return the result. The TTL stays.

        A missing key counts as 0; with `xx` it is left alone, and the answer is None.
        """
        return self._write(counters.increment, encode_key(name), counters.check_amount(amount), xx)

    @overload
    def incr(self, name: Key, amount: int = 1, *, xx: Literal[False] = False) -> int: ...
    @overload
    def incr(self, name: Key, amount: int = 1, *, xx: bool) -> int | None: ...
    def incr(self, name: Key, amount: int = 1, *, xx: bool = False) -> int | None:
        """As `incrby`."""
        return self.incrby(name, amount, xx=xx)

    @overload
    def decrby(self, name: Key, amount: int = 1, *, xx: Literal[False] = False) -> int: ...
    @overload
    def decrby(self, name: Key, amount: int = 1, *, xx: bool) -> int | None: ...
    def decrby(self, name: Key, amount: int = 1, *, xx: bool = False) -> int | None:
        """Subtract from the counter; otherwise as `incrby`."""
        return self.incrby(name, negative(amount), xx=xx)

    @overload
    def decr(self, name: Key, amount: int = 1, *, xx: Literal[False] = False) -> int: ...
    @overload
    def decr(self, name: Key, amount: int = 1, *, xx: bool) -> int | None: ...
    def decr(self, name: Key, amount: int = 1, *, xx: bool = False) -> int | None:
        """As `decrby`."""
        return self.decrby(name, amount, xx=xx)

    def incrbyfloat(self, name: Key, amount: float = 1.0) -> float:
        """Add to the number, in 80-bit extended precision, and return the result. The TTL stays."""
        return self._write(counters.increment_float, encode_key(name), encode_value(amount))
