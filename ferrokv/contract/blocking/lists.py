# Made by `python -m tools.make_twins` from contract/aio/lists.py; edit that.
"""Commands on lists."""

from __future__ import annotations

from typing import Protocol, overload

from ..encoding import Key, Names, Value


class BlockingListReads(Protocol):
    """Commands that read lists."""

    def llen(self, name: Key) -> int:
        """Return the number of elements. O(1)."""

    def lindex(self, name: Key, index: int) -> bytes | None:
        """Return the element at a position, or None."""

    def lrange(self, name: Key, start: int, end: int) -> list[bytes]:
        """Return the elements from `start` to `end`, both included. O(elements returned)."""

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
        """Return the position of the element, or None. O(n)."""


class BlockingListWrites(Protocol):
    """Commands that write lists."""

    def lpush(self, name: Key, *values: Value) -> int:
        """Insert the values one by one before the first element; returns the new length."""

    def rpush(self, name: Key, *values: Value) -> int:
        """Append the values after the last element; returns the new length. O(1) for each."""

    def lpushx(self, name: Key, *values: Value) -> int:
        """As `lpush`, but only if the list exists; otherwise return 0."""

    def rpushx(self, name: Key, *values: Value) -> int:
        """As `rpush`, but only if the list exists; otherwise return 0."""

    @overload
    def lpop(self, name: Key, count: None = None) -> bytes | None: ...

    @overload
    def lpop(self, name: Key, count: int) -> list[bytes] | None: ...

    def lpop(self, name: Key, count: int | None = None) -> bytes | list[bytes] | None:
        """Remove and return the first element, or None. O(1) for each."""

    @overload
    def rpop(self, name: Key, count: None = None) -> bytes | None: ...

    @overload
    def rpop(self, name: Key, count: int) -> list[bytes] | None: ...

    def rpop(self, name: Key, count: int | None = None) -> bytes | list[bytes] | None:
        """Remove and return the last element, or None. O(1) for each."""

    def lset(self, name: Key, index: int, value: Value) -> bool:
        """Replace the element at a position."""

    def linsert(self, name: Key, where: str, refvalue: Value, value: Value) -> int:
        """Insert `value` "BEFORE" or "AFTER" the first `refvalue`, and return the new length. O(n)."""

    def lrem(self, name: Key, count: int, value: Value) -> int:
        """Remove elements equal to `value`, and return how many were removed. O(n)."""

    def ltrim(self, name: Key, start: int, end: int) -> bool:
        """Keep only the elements that `lrange` would return. Returns True. O(elements removed)."""

    def lmove(self, first_list: Key, second_list: Key, src: str = "LEFT", dest: str = "RIGHT") -> bytes | None:
        """Move an element from an end of the first list to an end of the second; returns it."""

    def rpoplpush(self, src: Key, dst: Key) -> bytes | None:
        """Move the last element of `src` to the front of `dst`; returns it or None."""

    def blpop(self, keys: Names, timeout: float | None = 0) -> tuple[bytes, bytes] | None:
        """Pop the first element of the first list that has one; returns (key, element), or None."""

    def brpop(self, keys: Names, timeout: float | None = 0) -> tuple[bytes, bytes] | None:
        """As `blpop`, but pop the last element."""

    def blmove(
        self, first_list: Key, second_list: Key, timeout: float, src: str = "LEFT", dest: str = "RIGHT"
    ) -> bytes | None:
        """As `lmove`, but wait as `blpop` does."""

    def brpoplpush(self, src: Key, dst: Key, timeout: float | None = 0) -> bytes | None:
        """As `rpoplpush`, but wait as `blpop` does."""
