"""Commands on sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

from ....contract.encoding import Key, Names, Value, encode_key, encode_member
from ...commands import sets
from ..arguments import (
    check_choice,
    check_count,
    check_int,
    check_numkeys,
    encode_fields,
    encode_members,
    encode_names,
    encode_some_names,
)
from .command_base import CommandBase


class AsyncSetReads(CommandBase):
    """Commands that read sets."""

    __slots__ = ()

    async def scard(self, name: Key) -> int:
        """Return the number of members. O(1)."""
        return await self._query(sets.length, encode_key(name))

    async def smembers(self, name: Key) -> set[bytes]:
        """Return all members."""
        return await self._query(sets.members_of, encode_key(name))

    async def sismember(self, name: Key, value: Value) -> int:
        """Return 1 if the value is a member, otherwise 0."""
        return await self._query(sets.has_member, encode_key(name), encode_member(value))

    async def smismember(self, name: Key, values: Sequence[Value], *args: Value) -> list[int]:
        """Return 1 or 0 for each value, in order."""
        return await self._query(sets.have_members, encode_key(name), encode_fields(values, args, "smismember"))

    @overload
    async def srandmember(self, name: Key, number: None = None) -> bytes | None: ...
    @overload
    async def srandmember(self, name: Key, number: int) -> list[bytes]: ...
    async def srandmember(self, name: Key, number: int | None = None) -> bytes | list[bytes] | None:
        """Return a random member, or None. O(n).

        With `number`, returns a list of distinct members; a negative number allows repetition.
        """
        if number is None:
            return await self._query(sets.random_member, encode_key(name))
        return await self._query(sets.random_members, encode_key(name), check_choice(number))

    async def sinter(self, keys: Names, *args: Key) -> set[bytes]:
        """Return the members common to all of the sets."""
        return await self._query(sets.combine, "inter", encode_some_names(keys, args, "sinter"))

    async def sunion(self, keys: Names, *args: Key) -> set[bytes]:
        """Return the members of any of the sets."""
        return await self._query(sets.combine, "union", encode_some_names(keys, args, "sunion"))

    async def sdiff(self, keys: Names, *args: Key) -> set[bytes]:
        """Return the members of the first set that are in none of the others."""
        return await self._query(sets.combine, "diff", encode_some_names(keys, args, "sdiff"))

    async def sintercard(self, numkeys: int, keys: Sequence[Key], limit: int = 0) -> int:
        """Return how many members all the sets share, counting up to `limit` (0: no limit)."""
        names = check_numkeys(numkeys, encode_names(keys), "numkeys should be greater than 0")
        return await self._query(sets.count_common, names, check_int(limit))


class AsyncSetWrites(CommandBase):
    """Commands that write sets."""

    __slots__ = ()

    async def sadd(self, name: Key, *values: Value) -> int:
        """Add members, and return how many are new."""
        return await self._write(sets.add, encode_key(name), encode_members(values, "sadd"))

    async def srem(self, name: Key, *values: Value) -> int:
        """Remove members, and return how many existed."""
        return await self._write(sets.remove, encode_key(name), encode_members(values, "srem"))

    async def smove(self, src: Key, dst: Key, value: Value) -> bool:
        """Move a member from `src` to `dst`. Returns True if `src` had it."""
        return await self._write(sets.move, encode_key(src), encode_key(dst), encode_member(value))

    @overload
    async def spop(self, name: Key, count: None = None) -> bytes | None: ...
    @overload
    async def spop(self, name: Key, count: int) -> list[bytes]: ...
    async def spop(self, name: Key, count: int | None = None) -> bytes | list[bytes] | None:
        """Remove and return a random member, or None. O(n).

        With `count`, returns a list of at most that many.
        """
        if count is None:
            return await self._write(sets.pop_one, encode_key(name))
        return await self._write(sets.pop_many, encode_key(name), check_count(count))

    async def sinterstore(self, dest: Key, keys: Names, *args: Key) -> int:
        """Store the result of `sinter` at `dest`, and return how many members it has."""
        names = encode_some_names(keys, args, "sinterstore")
        return await self._write(sets.store, encode_key(dest), "inter", names)

    async def sunionstore(self, dest: Key, keys: Names, *args: Key) -> int:
        """Store the result of `sunion` at `dest`, and return how many members it has."""
        names = encode_some_names(keys, args, "sunionstore")
        return await self._write(sets.store, encode_key(dest), "union", names)

    async def sdiffstore(self, dest: Key, keys: Names, *args: Key) -> int:
        """Store the result of `sdiff` at `dest`, and return how many members it has."""
        names = encode_some_names(keys, args, "sdiffstore")
        return await self._write(sets.store, encode_key(dest), "diff", names)
