# Made by `python -m tools.make_twins` from local/faces/aio/lists.py; edit that.
"""Commands on lists."""

from __future__ import annotations

from typing import overload

from ....contract.encoding import Key, Names, Value, encode_key, encode_value
from ...commands import lists
from ..arguments import check_count, check_int, encode_some_names, encode_values, is_before, is_left
from .command_base import CommandBase


class BlockingListReads(CommandBase):
    """Commands that read lists."""

    __slots__ = ()

    def llen(self, name: Key) -> int:
        """Return the number of elements. O(1)."""
        return self._query(lists.length, encode_key(name))

    def lindex(self, name: Key, index: int) -> bytes | None:
        """Return the element at a position, or None.

        Negative positions count from the end. O(1).
        """
        return self._query(lists.element_at, encode_key(name), check_int(index))

    def lrange(self, name: Key, start: int, end: int) -> list[bytes]:
        """Return the elements from `start` to `end`, both included. O(elements returned).

        Negative positions count from the end.
        """
        return self._query(lists.slice_of, encode_key(name), check_int(start), check_int(end))

    @overload
    def lpos(
        self, name: Key, value: Value, rank: int | None = None, count: None = None, maxlen: int | None = None
    ) -> int | None: ...
    @overload
    def lpos(
        self, name: Key, value: Value, rank: int | None = None, *, count: int, maxlen: int | None = None
    ) -> list[int]: ...
    @overload
    def lpos(self, name: Key, value: Value, rank: int | None, count: int, maxlen: int | None = None) -> list[int]: ...
    def lpos(
        self, name: Key, value: Value, rank: int | None = None, count: int | None = None, maxlen: int | None = None
    ) -> int | list[int] | None:
        """Return the position of the element, or None. O(n).

        With `count`, returns a list of at most that many positions; 0 means all.
        """
        number = None if count is None else check_int(count)
        limits = (check_int(1 if rank is None else rank), number, check_int(0 if maxlen is None else maxlen))
        return self._query(lists.positions, encode_key(name), encode_value(value), *limits)


class BlockingListWrites(CommandBase):
    """Commands that write lists."""

    __slots__ = ()

    def lpush(self, name: Key, *values: Value) -> int:
        """Insert the values one by one before the first element; returns the new length.

        O(1) for each.
        """
        return self._write(lists.push, encode_key(name), encode_values(values, "lpush"), True, False)

    def rpush(self, name: Key, *values: Value) -> int:
        """Append the values after the last element; returns the new length. O(1) for each."""
        return self._write(lists.push, encode_key(name), encode_values(values, "rpush"), False, False)

    def lpushx(self, name: Key, *values: Value) -> int:
        """As `lpush`, but only if the list exists; otherwise return 0."""
        return self._write(lists.push, encode_key(name), encode_values(values, "lpushx"), True, True)

    def rpushx(self, name: Key, *values: Value) -> int:
        """As `rpush`, but only if the list exists; otherwise return 0."""
        return self._write(lists.push, encode_key(name), encode_values(values, "rpushx"), False, True)

    @overload
    def lpop(self, name: Key, count: None = None) -> bytes | None: ...
    @overload
    def lpop(self, name: Key, count: int) -> list[bytes] | None: ...
    def lpop(self, name: Key, count: int | None = None) -> bytes | list[bytes] | None:
        """Remove and return the first element, or None. O(1) for each.

        With `count`, returns a list of at most that many.
        """
        if count is None:
            return self._write(lists.pop_one, encode_key(name), True)
        return self._write(lists.pop_many, encode_key(name), check_count(count), True)

    @overload
    def rpop(self, name: Key, count: None = None) -> bytes | None: ...
    @overload
    def rpop(self, name: Key, count: int) -> list[bytes] | None: ...
    def rpop(self, name: Key, count: int | None = None) -> bytes | list[bytes] | None:
        """Remove and return the last element, or None. O(1) for each.

        With `count`, returns a list of at most that many, the last one first.
        """
        if count is None:
            return self._write(lists.pop_one, encode_key(name), False)
        return self._write(lists.pop_many, encode_key(name), check_count(count), False)

    def lset(self, name: Key, index: int, value: Value) -> bool:
        """Replace the element at a position.

        Returns True; `ResponseError` without such a list or position.
        """
        return self._write(lists.set_at, encode_key(name), check_int(index), encode_value(value))

    def linsert(self, name: Key, where: str, refvalue: Value, value: Value) -> int:
        """Insert `value` "BEFORE" or "AFTER" the first `refvalue`, and return the new length. O(n).

        Returns -1 if there is no `refvalue`, 0 if there is no list.
        """
        side = is_before(where)
        return self._write(lists.insert, encode_key(name), side, encode_value(refvalue), encode_value(value))

    def lrem(self, name: Key, count: int, value: Value) -> int:
        """Remove elements equal to `value`, and return how many were removed. O(n).

        A positive `count` removes the first `count`, a negative one the last -`count`, and 0 all of
        them.
        """
        return self._write(lists.remove, encode_key(name), check_int(count), encode_value(value))

    def ltrim(self, name: Key, start: int, end: int) -> bool:
        """Keep only the elements that `lrange` would return. Returns True. O(elements removed)."""
        return self._write(lists.trim, encode_key(name), check_int(start), check_int(end))

    def lmove(self, first_list: Key, second_list: Key, src: str = "LEFT", dest: str = "RIGHT") -> bytes | None:
        """Move an element from an end of the first list to an end of the second; returns it."""
        ends = is_left(src), is_left(dest)
        return self._write(lists.move, encode_key(first_list), encode_key(second_list), *ends)

    def rpoplpush(self, src: Key, dst: Key) -> bytes | None:
        """Move the last element of `src` to the front of `dst`; returns it or None."""
        return self._write(lists.move, encode_key(src), encode_key(dst), False, True)

    def blpop(self, keys: Names, timeout: float | None = 0) -> tuple[bytes, bytes] | None:
        """Pop the first element of the first list that has one; returns (key, element), or None.

        Waits up to `timeout` seconds for an element; 0 waits forever. Inside a pipeline or
        transaction it does not wait. Waiters in one process are served in roughly the order they
        arrived. A task that is cancelled while an element is being popped may lose that element;
        `blmove` to a list of work in progress keeps it. Raises `StoreClosed` as soon as the handle
        or the store is closed.
        """
        names = encode_some_names(keys, (), "blpop")
        return self._wait_for(timeout, names, lists.pop_first, names, True)

    def brpop(self, keys: Names, timeout: float | None = 0) -> tuple[bytes, bytes] | None:
        """As `blpop`, but pop the last element."""
        names = encode_some_names(keys, (), "brpop")
        return self._wait_for(timeout, names, lists.pop_first, names, False)

    def blmove(
        self, first_list: Key, second_list: Key, timeout: float, src: str = "LEFT", dest: str = "RIGHT"
    ) -> bytes | None:
        """As `lmove`, but wait as `blpop` does."""
        source, ends = encode_key(first_list), (is_left(src), is_left(dest))
        return self._wait_for(timeout, [source], lists.move, source, encode_key(second_list), *ends)

    def brpoplpush(self, src: Key, dst: Key, timeout: float | None = 0) -> bytes | None:
        """As `rpoplpush`, but wait as `blpop` does."""
        source = encode_key(src)
        return self._wait_for(timeout, [source], lists.move, source, encode_key(dst), False, True)
