# Made by `python -m tools.make_twins` from local/faces/aio/sets.py; edit that.
"""Commands on sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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


class QueuedSetReads(CommandBase):
    """Commands that read sets."""

    __slots__ = ()

    def scard(self, name: Key) -> Any:
        """Return the number of members. O(1)."""
        return self._query(sets.length, encode_key(name))

    def smembers(self, name: Key) -> Any:
        """Return all members."""
        return self._query(sets.members_of, encode_key(name))

    def sismember(self, name: Key, value: Value) -> Any:
        """Return 1 if the value is a member, otherwise 0."""
        return self._query(sets.has_member, encode_key(name), encode_member(value))

    def smismember(self, name: Key, values: Sequence[Value], *args: Value) -> Any:
        """Return 1 or 0 for each value, in order."""
        return self._query(sets.have_members, encode_key(name), encode_fields(values, args, "smismember"))

    def srandmember(self, name: Key, number: int | None = None) -> Any:
        """Return a random member, or None. O(n).

        With `number`, returns a list of distinct members; a negative number allows repetition.
        """
        if number is None:
            return self._query(sets.random_member, encode_key(name))
        return self._query(sets.random_members, encode_key(name), check_choice(number))

    def sinter(self, keys: Names, *args: Key) -> Any:
        """Return the members common to all of the sets."""
        return self._query(sets.combine, "inter", encode_some_names(keys, args, "sinter"))

    def sunion(self, keys: Names, *args: Key) -> Any:
        """Return the members of any of the sets."""
        return self._query(sets.combine, "union", encode_some_names(keys, args, "sunion"))

    def sdiff(self, keys: Names, *args: Key) -> Any:
        """Return the members of the first set that are in none of the others."""
        return self._query(sets.combine, "diff", encode_some_names(keys, args, "sdiff"))

    def sintercard(self, numkeys: int, keys: Sequence[Key], limit: int = 0) -> Any:
        """Return how many members all the sets share, counting up to `limit` (0: no limit)."""
        names = check_numkeys(numkeys, encode_names(keys), "numkeys should be greater than 0")
        return self._query(sets.count_common, names, check_int(limit))


class QueuedSetWrites(CommandBase):
    """Commands that write sets."""

    __slots__ = ()

    def sadd(self, name: Key, *values: Value) -> Any:
        """Add members, and return how many are new."""
        return self._write(sets.add, encode_key(name), encode_members(values, "sadd"))

    def srem(self, name: Key, *values: Value) -> Any:
        """Remove members, and return how many existed."""
        return self._write(sets.remove, encode_key(name), encode_members(values, "srem"))

    def smove(self, src: Key, dst: Key, value: Value) -> Any:
        """Move a member from `src` to `dst`. Returns True if `src` had it."""
        return self._write(sets.move, encode_key(src), encode_key(dst), encode_member(value))

    def spop(self, name: Key, count: int | None = None) -> Any:
        """Remove and return a random member, or None. O(n).

        With `count`, returns a list of at most that many.
        """
        if count is None:
            return self._write(sets.pop_one, encode_key(name))
        return self._write(sets.pop_many, encode_key(name), check_count(count))

    def sinterstore(self, dest: Key, keys: Names, *args: Key) -> Any:
        """Store the result of `sinter` at `dest`, and return how many members it has."""
        names = encode_some_names(keys, args, "sinterstore")
        return self._write(sets.store, encode_key(dest), "inter", names)

    def sunionstore(self, dest: Key, keys: Names, *args: Key) -> Any:
        """Store the result of `sunion` at `dest`, and return how many members it has."""
        names = encode_some_names(keys, args, "sunionstore")
        return self._write(sets.store, encode_key(dest), "union", names)

    def sdiffstore(self, dest: Key, keys: Names, *args: Key) -> Any:
        """Store the result of `sdiff` at `dest`, and return how many members it has."""
        names = encode_some_names(keys, args, "sdiffstore")
        return self._write(sets.store, encode_key(dest), "diff", names)
