"""Lists."""

from __future__ import annotations

from typing import overload

from ...commands import lists
from ...commands.encoding import Key, Value, encode_key, encode_value
from ..arguments import Names, check_count, check_int, encode_some_names, encode_values, is_before, is_left
from .command_base import CommandBase


class AsyncListReads(CommandBase):
    """What can be asked of lists."""

    __slots__ = ()

    async def llen(self, name: Key) -> int:
        """How many elements the list has. O(1)."""
        return await self._query(lists.length, encode_key(name))

    async def lindex(self, name: Key, index: int) -> bytes | None:
        """The element at a position, counted from the end if negative, or None. O(1)."""
        return await self._query(lists.element_at, encode_key(name), check_int(index))

    async def lrange(self, name: Key, start: int, end: int) -> list[bytes]:
        """The elements from `start` to `end`, both included, counted from the end if negative. O(elements answered)."""
        return await self._query(lists.slice_of, encode_key(name), check_int(start), check_int(end))

    @overload
    async def lpos(
        self, name: Key, value: Value, rank: int | None = None, count: None = None, maxlen: int | None = None
    ) -> int | None: ...
    @overload
    async def lpos(
        self, name: Key, value: Value, rank: int | None = None, *, count: int, maxlen: int | None = None
    ) -> list[int]: ...
    @overload
    async def lpos(
        self, name: Key, value: Value, rank: int | None, count: int, maxlen: int | None = None
    ) -> list[int]: ...
    async def lpos(
        self, name: Key, value: Value, rank: int | None = None, count: int | None = None, maxlen: int | None = None
    ) -> int | list[int] | None:
        """The position of the element, or None; with `count`, a list of up to so many (0: all). O(n)."""
        number = None if count is None else check_int(count)
        limits = (check_int(1 if rank is None else rank), number, check_int(0 if maxlen is None else maxlen))
        return await self._query(lists.positions, encode_key(name), encode_value(value), *limits)


class AsyncListWrites(CommandBase):
    """What can be done to lists."""

    __slots__ = ()

    async def lpush(self, name: Key, *values: Value) -> int:
        """The length, after putting the values before the list one by one. O(1) for each."""
        return await self._write(lists.push, encode_key(name), encode_values(values, "lpush"), True, False)

    async def rpush(self, name: Key, *values: Value) -> int:
        """The length, after putting the values behind the list. O(1) for each."""
        return await self._write(lists.push, encode_key(name), encode_values(values, "rpush"), False, False)

    async def lpushx(self, name: Key, *values: Value) -> int:
        """As `lpush`, if there is such a list; else 0."""
        return await self._write(lists.push, encode_key(name), encode_values(values, "lpushx"), True, True)

    async def rpushx(self, name: Key, *values: Value) -> int:
        """As `rpush`, if there is such a list; else 0."""
        return await self._write(lists.push, encode_key(name), encode_values(values, "rpushx"), False, True)

    @overload
    async def lpop(self, name: Key, count: None = None) -> bytes | None: ...
    @overload
    async def lpop(self, name: Key, count: int) -> list[bytes] | None: ...
    async def lpop(self, name: Key, count: int | None = None) -> bytes | list[bytes] | None:
        """The first element, or None; with `count`, a list of up to so many. O(1) for each."""
        if count is None:
            return await self._write(lists.pop_one, encode_key(name), True)
        return await self._write(lists.pop_many, encode_key(name), check_count(count), True)

    @overload
    async def rpop(self, name: Key, count: None = None) -> bytes | None: ...
    @overload
    async def rpop(self, name: Key, count: int) -> list[bytes] | None: ...
    async def rpop(self, name: Key, count: int | None = None) -> bytes | list[bytes] | None:
        """The last element, or None; with `count`, a list of up to so many, the last one first. O(1) for each."""
        if count is None:
            return await self._write(lists.pop_one, encode_key(name), False)
        return await self._write(lists.pop_many, encode_key(name), check_count(count), False)

    async def lset(self, name: Key, index: int, value: Value) -> bool:
        """True. The element at a position is now `value`; `ResponseError` if there is no such list or position."""
        return await self._write(lists.set_at, encode_key(name), check_int(index), encode_value(value))

    async def linsert(self, name: Key, where: str, refvalue: Value, value: Value) -> int:
        """The length after inserting "BEFORE" or "AFTER" the first `refvalue`; -1 without one, 0 without list. O(n)."""
        side = is_before(where)
        return await self._write(lists.insert, encode_key(name), side, encode_value(refvalue), encode_value(value))

    async def lrem(self, name: Key, count: int, value: Value) -> int:
        """How many elements were removed: the first `count`, the last -count if negative, all if 0. O(n)."""
        return await self._write(lists.remove, encode_key(name), check_int(count), encode_value(value))

    async def ltrim(self, name: Key, start: int, end: int) -> bool:
        """True. Only what `lrange` would answer is left. O(elements that go)."""
        return await self._write(lists.trim, encode_key(name), check_int(start), check_int(end))

    async def lmove(self, first_list: Key, second_list: Key, src: str = "LEFT", dest: str = "RIGHT") -> bytes | None:
        """The element that went from an end of the first list to an end of the second, or None."""
        ends = is_left(src), is_left(dest)
        return await self._write(lists.move, encode_key(first_list), encode_key(second_list), *ends)

    async def rpoplpush(self, src: Key, dst: Key) -> bytes | None:
        """The last element of `src`, now the first of `dst`, or None."""
        return await self._write(lists.move, encode_key(src), encode_key(dst), False, True)

    async def blpop(self, keys: Names, timeout: float | None = 0) -> tuple[bytes, bytes] | None:
        """(key, first element) of the first list that has one, waiting `timeout` seconds (0: for ever); else None.

        Inside a pipeline or transaction it does not wait. Waiters of one process get elements in about the order they came in. A
        task that is cancelled in the moment of popping may take an element along: `blmove` to a list of work in hand keeps it.
        `StoreClosed` as soon as the handle or the store is closed.
        """
        names = encode_some_names(keys, (), "blpop")
        return await self._wait_for(timeout, names, lists.pop_first, names, True)

    async def brpop(self, keys: Names, timeout: float | None = 0) -> tuple[bytes, bytes] | None:
        """As `blpop`, with the last element."""
        names = encode_some_names(keys, (), "brpop")
        return await self._wait_for(timeout, names, lists.pop_first, names, False)

    async def blmove(
        self, first_list: Key, second_list: Key, timeout: float, src: str = "LEFT", dest: str = "RIGHT"
    ) -> bytes | None:
        """As `lmove`, waiting as `blpop` does."""
        source, ends = encode_key(first_list), (is_left(src), is_left(dest))
        return await self._wait_for(timeout, [source], lists.move, source, encode_key(second_list), *ends)

    async def brpoplpush(self, src: Key, dst: Key, timeout: float | None = 0) -> bytes | None:
        """As `rpoplpush`, waiting as `blpop` does."""
        source = encode_key(src)
        return await self._wait_for(timeout, [source], lists.move, source, encode_key(dst), False, True)
