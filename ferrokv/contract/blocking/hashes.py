# Made by `python -m tools.make_twins` from contract/aio/hashes.py; edit that.
"""Commands on hashes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, overload

from ..encoding import Key, Value


class BlockingHashReads(Protocol):
    """Commands that read hashes."""

    def hget(self, name: Key, key: Value) -> bytes | None:
        """Return the value of a field, or None."""

    def hmget(self, name: Key, keys: Value | Iterable[Value], *args: Value) -> list[bytes | None]:
        """Return the values in the order of the fields; None for missing fields."""

    def hgetall(self, name: Key) -> dict[bytes, bytes]:
        """Return all fields and their values, sorted by field."""

    def hexists(self, name: Key, key: Value) -> bool:
        """Return True if the hash has the field."""

    def hlen(self, name: Key) -> int:
        """Return the number of fields. O(1)."""

    def hkeys(self, name: Key) -> list[bytes]:
        """Return all fields, sorted."""

    def hvals(self, name: Key) -> list[bytes]:
        """Return all values, sorted by field."""

    def hstrlen(self, name: Key, key: Value) -> int:
        """Return the length in bytes of a field's value."""

    @overload
    def hrandfield(self, key: Key, count: None = None, withvalues: bool = False) -> bytes | None: ...

    @overload
    def hrandfield(self, key: Key, count: int, withvalues: bool = False) -> list[bytes]: ...

    def hrandfield(self, key: Key, count: int | None = None, withvalues: bool = False) -> bytes | list[bytes] | None:
        """Return a random field, or None. O(n)."""


class BlockingHashWrites(Protocol):
    """Commands that write hashes."""

    def hset(
        self,
        name: Key,
        key: Value | None = None,
        value: Value | None = None,
        mapping: Mapping[Any, Value] | None = None,
        items: Sequence[Value] | None = None,
    ) -> int:
        """Set fields, and return how many of them are new."""

    def hmset(self, name: Key, mapping: Mapping[Any, Value]) -> bool:
        """Set the fields of a mapping. Returns True."""

    def hsetnx(self, name: Key, key: Value, value: Value) -> int:
        """Set a field if it does not exist. Returns 1 if it was set, otherwise 0."""

    def hdel(self, name: Key, *keys: Value) -> int:
        """Delete fields, and return how many existed."""

    def hincrby(self, name: Key, key: Value, amount: int = 1) -> int:
        """Add to a field's number and return the result; a missing field counts as 0."""

    def hincrbyfloat(self, name: Key, key: Value, amount: float = 1.0) -> float:
        """Add to a field's number, in 80-bit extended precision, and return the result."""
