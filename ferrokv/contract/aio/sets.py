# Made by `python -m tools.make_contract` from local/faces/aio/sets.py; edit that.
"""Commands on sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, overload

from ..encoding import Key, Names, Value


class AsyncSetReads(Protocol):
    """Commands that read sets."""

    async def scard(self, name: Key) -> int:
        """Return the number of members. O(1)."""

    async def smembers(self, name: Key) -> set[bytes]:
        """Return all members."""

    async def sismember(self, name: Key, value: Value) -> int:
        """Return 1 if the value is a member, otherwise 0."""

    async def smismember(self, name: Key, values: Sequence[Value], *args: Value) -> list[int]:
        """Return 1 or 0 for each value, in order."""

    @overload
    async def srandmember(self, name: Key, number: None = None) -> bytes | None: ...

    @overload
    async def srandmember(self, name: Key, number: int) -> list[bytes]: ...

    async def srandmember(self, name: Key, number: int | None = None) -> bytes | list[bytes] | None:
        """Return a random member, or None. O(n)."""

    async def sinter(self, keys: Names, *args: Key) -> set[bytes]:
        """Return the members common to all of the sets."""

    async def sunion(self, keys: Names, *args: Key) -> set[bytes]:
        """Return the members of any of the sets."""

    async def sdiff(self, keys: Names, *args: Key) -> set[bytes]:
        """Return the members of the first set that are in none of the others."""

    async def sintercard(self, numkeys: int, keys: Sequence[Key], limit: int = 0) -> int:
        """Return how many members all the sets share, counting up to `limit` (0: no limit)."""


class AsyncSetWrites(Protocol):
    """Commands that write sets."""

    async def sadd(self, name: Key, *values: Value) -> int:
        """Add members, and return how many are new."""

    async def srem(self, name: Key, *values: Value) -> int:
        """Remove members, and return how many existed."""

    async def smove(self, src: Key, dst: Key, value: Value) -> bool:
        """Move a member from `src` to `dst`. Returns True if `src` had it."""

    @overload
    async def spop(self, name: Key, count: None = None) -> bytes | None: ...

    @overload
    async def spop(self, name: Key, count: int) -> list[bytes]: ...

    async def spop(self, name: Key, count: int | None = None) -> bytes | list[bytes] | None:
        """Remove and return a random member, or None. O(n)."""

    async def sinterstore(self, dest: Key, keys: Names, *args: Key) -> int:
        """Store the result of `sinter` at `dest`, and return how many members it has."""

    async def sunionstore(self, dest: Key, keys: Names, *args: Key) -> int:
        """Store the result of `sunion` at `dest`, and return how many members it has."""

    async def sdiffstore(self, dest: Key, keys: Names, *args: Key) -> int:
        """Store the result of `sdiff` at `dest`, and return how many members it has."""
