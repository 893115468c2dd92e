# Made by `python -m tools.make_twins` from local/faces/aio/strings.py; edit that.
"""Strings, counters and bits."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, overload

from ...batch import WriteBatch
from ...commands import bits, counters, strings
from ...commands.encoding import Expiry, Key, Value, encode_key, encode_value
from ..arguments import (
    Names,
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
    """What can be asked of strings."""

    __slots__ = ()

    def get(self, name: Key) -> bytes | None:
        """The value, or None. At most one block read per level when memory does not have it."""
        return self._query(strings.get, encode_key(name))

    def mget(self, keys: Names, *args: Key) -> list[bytes | None]:
        """Values in the order of the keys, None for missing ones, all of one moment."""
        return self._query(strings.get_many, encode_names(keys, args))

    def strlen(self, name: Key) -> int:
        """How many bytes the value has; 0 if there is no such key."""
        return self._query(strings.length, encode_key(name))

    def getrange(self, key: Key, start: int, end: int) -> bytes:
        """The bytes from `start` to `end`, both included, counted from the end if negative."""
        return self._query(strings.get_range, encode_key(key), check_int(start), check_int(end))

    def substr(self, name: Key, start: int, end: int = -1) -> bytes:
        """As `getrange`."""
        return self._query(strings.get_range, encode_key(name), check_int(start), check_int(end))

    def getbit(self, name: Key, offset: int) -> int:
        """The bit at `offset`; bit 0 is the highest of the first byte."""
        return self._query(bits.get_bit, encode_key(name), check_offset(offset))

    def bitcount(
        self, key: Key, start: int | None = None, end: int | None = None, mode: str | None = None
    ) -> int:
        """How many bits are set, in all or from byte `start` to `end`; with mode "BIT", from bit to bit."""
        bounds = check_bit_range(start, end, mode)
        return self._query(bits.count, encode_key(key), *bounds, mode)

    def bitpos(
        self, key: Key, bit: int, start: int | None = None, end: int | None = None, mode: str | None = None
    ) -> int:
        """Where the first bit that is `bit` stands, from `start` on and up to `end`; -1 if there is none."""
        bounds = check_position_range(start, end, mode)
        return self._query(bits.position, encode_key(key), check_bit(bit), *bounds)


class BlockingStringWrites(CommandBase):
    """What can be done to strings."""

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
        """True, or None when `nx` or `xx` forbade it; with `get`, the old value or None."""
        options = strings.make_set_options(ex, px, nx, xx, keepttl, get, exat, pxat)
        return self._write(strings.set_value, encode_key(name), encode_value(value), options)

    def set_ex(self, name: Key, value: Value, ttl: Expiry) -> bool:
        """True. The key expires after `ttl`, seconds or a timedelta, exact to the millisecond."""
        ttl_ms = encode_positive_ttl(ttl, "setex")
        return self._write(strings.set_with_ttl, encode_key(name), encode_value(value), ttl_ms, "setex")

    def setex(self, name: Key, time: Expiry, value: Value) -> bool:
        """True. `set_ex` in the order of redis-py's arguments."""
        return self.set_ex(name, value, time)

    def psetex(self, name: Key, time_ms: Expiry, value: Value) -> bool:
        """As `setex`, in milliseconds."""
        ttl_ms = encode_positive_ttl(time_ms, "psetex", unit_ms=1)
        return self._write(strings.set_with_ttl, encode_key(name), encode_value(value), ttl_ms, "psetex")

    def setnx(self, name: Key, value: Value) -> bool:
        """True if there was no such key, which is now set."""
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
        """The value or None. Its TTL becomes `ex` seconds or `px` ms, ends at `exat` or `pxat`, or goes with `persist`."""
        options = encode_getex(ex, px, exat, pxat, persist)
        return self._write(strings.get_and_expire, encode_key(name), *options)

    def getdel(self, name: Key) -> bytes | None:
        """The value or None; the key is gone."""
        return self._write(strings.get_and_delete, encode_key(name))

    def getset(self, name: Key, value: Value) -> bytes | None:
        """The old value or None; the TTL is gone."""
        return self._write(strings.get_and_set, encode_key(name), encode_value(value))

    def append(self, key: Key, value: Value) -> int:
        """The length after appending; the TTL stays."""
        return self._write(strings.append, encode_key(key), encode_value(value))

    def setrange(self, name: Key, offset: int, value: Value) -> int:
        """The length after overwriting from `offset` on; zeros fill a gap."""
        return self._write(strings.set_range, encode_key(name), check_int(offset), encode_value(value))

    def setbit(self, name: Key, offset: int, value: int) -> int:
        """The bit that was at `offset`, which is now `value`."""
        return self._write(bits.set_bit, encode_key(name), check_offset(offset), value)

    def bitop(self, operation: str, dest: Key, *keys: Key) -> int:
        """The length of what "AND", "OR", "XOR" or "NOT" make of the values, which is now at `dest`."""
        sources = encode_some_names(keys, (), "bitop")
        return self._write(bits.combine, operation, encode_key(dest), sources)

    def compare_and_set(
        self, name: Key, expected: Value, value: Value, ex: Expiry | None = None, px: Expiry | None = None
    ) -> bool:
        """True if the key held `expected` and now holds `value`; its TTL stays, unless `ex` or `px` gives another."""
        ttl_ms = encode_new_ttl(ex, px)
        key, old, new = encode_key(name), encode_value(expected), encode_value(value)
        return self._write(strings.compare_and_set, key, old, new, ttl_ms)

    def compare_and_delete(self, name: Key, expected: Value) -> bool:
        """True if the key held `expected` and is now gone."""
        return self._write(strings.compare_and_delete, encode_key(name), encode_value(expected))

    def mset(self, mapping: Mapping[Any, Value]) -> bool:
        """True. All keys of the mapping at once."""
        return self._write(strings.write_many, encode_mapping(mapping, "mset"))

    def msetnx(self, mapping: Mapping[Any, Value]) -> bool:
        """True if none of the keys was there, and all are now; else nothing is written."""
        return self._write(strings.write_if_all_missing, encode_mapping(mapping, "msetnx"))

    def write(self, batch: WriteBatch) -> bool:
        """True. Every write of the batch, or none: one frame, one sync."""
        return self._write(strings.write_many, check_batch(batch))

    @overload
    def incrby(self, name: Key, amount: int = 1, *, xx: Literal[False] = False) -> int: ...
    @overload
    def incrby(self, name: Key, amount: int = 1, *, xx: bool) -> int | None: ...
    def incrby(self, name: Key, amount: int = 1, *, xx: bool = False) -> int | None:
        """The counter after adding; its TTL stays. A missing key counts as 0, or answers None with `xx`."""
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
        """The counter after subtracting; otherwise as `incrby`."""
        return self.incrby(name, negative(amount), xx=xx)

    @overload
    def decr(self, name: Key, amount: int = 1, *, xx: Literal[False] = False) -> int: ...
    @overload
    def decr(self, name: Key, amount: int = 1, *, xx: bool) -> int | None: ...
    def decr(self, name: Key, amount: int = 1, *, xx: bool = False) -> int | None:
        """As `decrby`."""
        return self.decrby(name, amount, xx=xx)

    def incrbyfloat(self, name: Key, amount: float = 1.0) -> float:
        """The number after adding, as 80-bit extended precision has it; the TTL stays."""
        return self._write(counters.increment_float, encode_key(name), encode_value(amount))
