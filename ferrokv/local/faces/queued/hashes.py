# Made by `python -m tools.make_twins` from local/faces/aio/hashes.py; edit that.
"""Hashes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...commands import hashes
from ...commands.encoding import Key, Value, encode_key, encode_member, encode_value
from ..arguments import check_choice, check_int, encode_fields, encode_members, encode_pairs
from .command_base import CommandBase


class QueuedHashReads(CommandBase):
    """What can be asked of hashes."""

    __slots__ = ()

    def hget(self, name: Key, key: Value) -> Any:
        """The value of a field, or None."""
        return self._query(hashes.get_field, encode_key(name), encode_member(key))

    def hmget(self, name: Key, keys: Value | Iterable[Value], *args: Value) -> Any:
        """The values in the order of the fields, None for missing ones."""
        return self._query(hashes.get_fields, encode_key(name), encode_fields(keys, args, "hmget"))

    def hgetall(self, name: Key) -> Any:
        """All fields and values, in the order of the fields."""
        return self._query(hashes.get_all, encode_key(name))

    def hexists(self, name: Key, key: Value) -> Any:
        """True if the hash has the field."""
        return self._query(hashes.has_field, encode_key(name), encode_member(key))

    def hlen(self, name: Key) -> Any:
        """How many fields the hash has. O(1)."""
        return self._query(hashes.length, encode_key(name))

    def hkeys(self, name: Key) -> Any:
        """All fields, in their order."""
        return self._query(hashes.fields_of, encode_key(name))

    def hvals(self, name: Key) -> Any:
        """All values, in the order of the fields."""
        return self._query(hashes.values_of, encode_key(name))

    def hstrlen(self, name: Key, key: Value) -> Any:
        """How many bytes the value of a field has."""
        return self._query(hashes.value_length, encode_key(name), encode_member(key))

    def hrandfield(
        self, key: Key, count: int | None = None, withvalues: bool = False
    ) -> Any:
        """A random field or None; with `count` a list: different ones, or with repetition if negative. O(n)."""
        number = None if count is None else check_choice(count)
        return self._query(hashes.random_fields, encode_key(key), number, withvalues)


class QueuedHashWrites(CommandBase):
    """What can be done to hashes."""

    __slots__ = ()

    def hset(
        self,
        name: Key,
        key: Value | None = None,
        value: Value | None = None,
        mapping: Mapping[Any, Value] | None = None,
        items: Sequence[Value] | None = None,
    ) -> Any:
        """How many fields are new, of `key` and `value`, of a mapping, and of `items` (field, value, field, value...)."""
        return self._write(hashes.set_fields, encode_key(name), encode_pairs(key, value, mapping, items))

    def hmset(self, name: Key, mapping: Mapping[Any, Value]) -> Any:
        """True. `hset` of a mapping."""
        return self._write(hashes.set_mapping, encode_key(name), encode_pairs(None, None, mapping, None))

    def hsetnx(self, name: Key, key: Value, value: Value) -> Any:
        """1 if the field is new, 0 if it was there and stays as it is."""
        return self._write(hashes.set_field_if_missing, encode_key(name), encode_member(key), encode_value(value))

    def hdel(self, name: Key, *keys: Value) -> Any:
        """How many of the fields there were; they are gone."""
        return self._write(hashes.delete_fields, encode_key(name), encode_members(keys, "hdel"))

    def hincrby(self, name: Key, key: Value, amount: int = 1) -> Any:
        """The field's number after adding; a missing one counts as 0."""
        return self._write(hashes.increment, encode_key(name), encode_member(key), check_int(amount))

    def hincrbyfloat(self, name: Key, key: Value, amount: float = 1.0) -> Any:
        """The field's number after adding, as 80-bit extended precision has it."""
        return self._write(hashes.increment_float, encode_key(name), encode_member(key), encode_value(amount))
