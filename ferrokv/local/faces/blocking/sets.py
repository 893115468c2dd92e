# Made by `python -m tools.make_twins` from local/faces/aio/sets.py; edit that.
"""Sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

from ...commands import sets
from ...commands.encoding import Key, Value, encode_key, encode_member
from ..arguments import (
    Names,
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


class BlockingSetReads(CommandBase):
    """What can be asked of sets."""

    __slots__ = ()

    def scard(self, name: Key) -> int:
        """How many members the set has. O(1)."""
        return self._query(sets.length, encode_key(name))

    def smembers(self, name: Key) -> set[bytes]:
        """All members."""
        return self._query(sets.members_of, encode_key(name))

    def sismember(self, name: Key, value: Value) -> int:
        """1 if the set has the member, else 0."""
        return self._query(sets.has_member, encode_key(name), encode_member(value))

    def smismember(self, name: Key, values: Sequence[Value], *args: Value) -> list[int]:
        """1 or 0 for each."""
        return self._query(sets.have_members, encode_key(name), encode_fields(values, args, "smismember"))

    @overload
    def srandmember(self, name: Key, number: None = None) -> bytes | None: ...
    @overload
    def srandmember(self, name: Key, number: int) -> list[bytes]: ...
    def srandmember(self, name: Key, number: int | None = None) -> bytes | list[bytes] | None:
        """A random member or None; with `number` a list: different ones, or with repetition if negative. O(n)."""
        if number is None:
            return self._query(sets.random_member, encode_key(name))
        return self._query(sets.random_members, encode_key(name), check_choice(number))

    def sinter(self, keys: Names, *args: Key) -> set[bytes]:
        """The members that all the sets have."""
        return self._query(sets.combine, "inter", encode_some_names(keys, args, "sinter"))

    def sunion(self, keys: Names, *args: Key) -> set[bytes]:
        """The members that any of the sets has."""
        return self._query(sets.combine, "union", encode_some_names(keys, args, "sunion"))

    def sdiff(self, keys: Names, *args: Key) -> set[bytes]:
        """The members of the first set that no other has."""
        return self._query(sets.combine, "diff", encode_some_names(keys, args, "sdiff"))

    def sintercard(self, numkeys: int, keys: Sequence[Key], limit: int = 0) -> int:
        """How many members all the sets have, counted up to `limit` unless that is 0."""
        names = check_numkeys(numkeys, encode_names(keys), "numkeys should be greater than 0")
        return self._query(sets.count_common, names, check_int(limit))


class BlockingSetWrites(CommandBase):
    """What can be done to sets."""

    __slots__ = ()

    def sadd(self, name: Key, *values: Value) -> int:
        """How many of the members are new."""
        return self._write(sets.add, encode_key(name), encode_members(values, "sadd"))

    def srem(self, name: Key, *values: Value) -> int:
        """How many of the members there were; they are gone."""
        return self._write(sets.remove, encode_key(name), encode_members(values, "srem"))

    def smove(self, src: Key, dst: Key, value: Value) -> bool:
        """True if `src` had the member, which is now in `dst`."""
        return self._write(sets.move, encode_key(src), encode_key(dst), encode_member(value))

    @overload
    def spop(self, name: Key, count: None = None) -> bytes | None: ...
    @overload
    def spop(self, name: Key, count: int) -> list[bytes]: ...
    def spop(self, name: Key, count: int | None = None) -> bytes | list[bytes] | None:
        """A random member, which is gone, or None; with `count`, a list of up to so many. O(n)."""
        if count is None:
            return self._write(sets.pop_one, encode_key(name))
        return self._write(sets.pop_many, encode_key(name), check_count(count))

    def sinterstore(self, dest: Key, keys: Names, *args: Key) -> int:
        """How many members `dest` has, which is now what `sinter` answers."""
        names = encode_some_names(keys, args, "sinterstore")
        return self._write(sets.store, encode_key(dest), "inter", names)

    def sunionstore(self, dest: Key, keys: Names, *args: Key) -> int:
        """How many members `dest` has, which is now what `sunion` answers."""
        names = encode_some_names(keys, args, "sunionstore")
        return self._write(sets.store, encode_key(dest), "union", names)

    def sdiffstore(self, dest: Key, keys: Names, *args: Key) -> int:
        """How many members `dest` has, which is now what `sdiff` answers."""
        names = encode_some_names(keys, args, "sdiffstore")
        return self._write(sets.store, encode_key(dest), "diff", names)
