# Made by `python -m tools.make_twins` from local/faces/aio/hashes.py; edit that.
"""Commands on hashes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, overload

from ....contract.encoding import Key, Value, encode_key, encode_member, encode_value
from ...commands import hashes
from ..arguments import check_choice, check_int, encode_fields, encode_members, encode_pairs
from .command_base import CommandBase


class BlockingHashReads(CommandBase):
    """Commands that read hashes."""

    __slots__ = ()

    def hget(self, name: Key, key: Value) -> bytes | None:
        """Return the value of a field, or None."""
        return self._query(hashes.get_field, encode_key(name), encode_member(key))

    def hmget(self, name: Key, keys: Value | Iterable[Value], *args: Value) -> list[bytes | None]:
        """Return the values in the order of the fields; None for missing fields."""
        return self._query(hashes.get_fields, encode_key(name), encode_fields(keys, args, "hmget"))

    def hgetall(self, name: Key) -> dict[bytes, bytes]:
        """Return all fields and their values, sorted by field."""
        return self._query(hashes.get_all, encode_key(name))

    def hexists(self, name: Key, key: Value) -> bool:
        """Return True if the hash has the field."""
        return self._query(hashes.has_field, encode_key(name), encode_member(key))

    def hlen(self, name: Key) -> int:
        """Return the number of fields. O(1)."""
        return self._query(hashes.length, encode_key(name))

    def hkeys(self, name: Key) -> list[bytes]:
        """Return all fields, sorted."""
        return self._query(hashes.fields_of, encode_key(name))

    def hvals(self, name: Key) -> list[bytes]:
        """Return all values, sorted by field."""
        return self._query(hashes.values_of, encode_key(name))

    def hstrlen(self, name: Key, key: Value) -> int:
        """Return the length in bytes of a field's value."""
        return self._query(hashes.value_length, encode_key(name), encode_member(key))

    @overload
    def hrandfield(self, key: Key, count: None = None, withvalues: bool = False) -> bytes | None: ...
    @overload
    def hrandfield(self, key: Key, count: int, withvalues: bool = False) -> list[bytes]: ...
    def hrandfield(self, key: Key, count: int | None = None, withvalues: bool = False) -> bytes | list[bytes] | None:
        """Return a random field, or None. O(n).

        With `count`, returns a list of distinct fields; a negative count allows repetition.
        """
        number = None if count is None else check_choice(count)
        return self._query(hashes.random_fields, encode_key(key), number, withvalues)


class BlockingHashWrites(CommandBase):
    """Commands that write hashes."""

    __slots__ = ()

    def hset(
        self,
        name: Key,
        key: Value | None = None,
        value: Value | None = None,
        mapping: Mapping[Any, Value] | None = None,
        items: Sequence[Value] | None = None,
    ) -> int:
        """Set fields, and return how many of them are new.

        They may be given as `key` and `value`, as a mapping, and as `items` (field, value, field,
        value...).
        """
        return self._write(hashes.set_fields, encode_key(name), encode_pairs(key, value, mapping, items))

    def hmset(self, name: Key, mapping: Mapping[Any, Value]) -> bool:
        """Set the fields of a mapping. Returns True."""
        return self._write(hashes.set_mapping, encode_key(name), encode_pairs(None, None, mapping, None))

    def hsetnx(self, name: Key, key: Value, value: Value) -> int:
        """Set a field if it does not exist. Returns 1 if it was set, otherwise 0."""
        return self._write(hashes.set_field_if_missing, encode_key(name), encode_member(key), encode_value(value))

    def hdel(self, name: Key, *keys: Value) -> int:
        """Delete fields, and return how many existed."""
        return self._write(hashes.delete_fields, encode_key(name), encode_members(keys, "hdel"))

    def hincrby(self, name: Key, key: Value, amount: int = 1) -> int:
        """Add to a field's number and return the result; a missing field counts as 0."""
        return self._write(hashes.increment, encode_key(name), encode_member(key), check_int(amount))

    def hincrbyfloat(self, name: Key, key: Value, amount: float = 1.0) -> float:
        """Add to a field's number, in 80-bit extended precision, and return the result."""
        return self._write(hashes.increment_float, encode_key(name), encode_member(key), encode_value(amount))
