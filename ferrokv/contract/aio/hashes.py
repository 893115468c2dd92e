# Made by `python -m tools.make_contract` from local/faces/aio/hashes.py; edit that.
"""Commands on hashes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, overload

from ..encoding import Key, Value


class AsyncHashReads(Protocol):
    """Commands that read hashes."""

    async def hget(self, name: Key, key: Value) -> bytes | None:
        """Return the value of a field, or None."""

    async def hmget(self, name: Key, keys: Value | Iterable[Value], *args: Value) -> list[bytes | None]:
        """Return the values in the order of the fields; None for missing fields."""

    async def hgetall(self, name: Key) -> dict[bytes, bytes]:
        """Return all fields and their values, sorted by field."""

    async def hexists(self, name: Key, key: Value) -> bool:
        """Return True if the hash has the field."""

    async def hlen(self, name: Key) -> int:
        """Return the number of fields. O(1)."""

    async def hkeys(self, name: Key) -> list[bytes]:
        """Return all fields, sorted."""

    async def hvals(self, name: Key) -> list[bytes]:
        """Return all values, sorted by field."""

    async def hstrlen(self, name: Key, key: Value) -> int:
        """Return the length in bytes of a field's value."""

    @overload
    async def hrandfield(self, key: Key, count: None = None, withvalues: bool = False) -> bytes | None: ...

    @overload
    async def hrandfield(self, key: Key, count: int, withvalues: bool = False) -> list[bytes]: ...

    async def hrandfield(
        self, key: Key, count: int | None = None, withvalues: bool = False
    ) -> bytes | list[bytes] | None:
        """Return a random field, or None. O(n)."""


class AsyncHashWrites(Protocol):
    """Commands that write hashes."""

    async def hset(
        self,
        name: Key,
        key: Value | None = None,
        value: Value | None = None,
        mapping: Mapping[Any, Value] | None = None,
        items: Sequence[Value] | None = None,
    ) -> int:
        """Set fields, and return how many of them are new."""

    async def hmset(self, name: Key, mapping: Mapping[Any, Value]) -> bool:
        """Set the fields of a mapping. Returns True."""

    async def hsetnx(self, name: Key, key: Value, value: Value) -> int:
        """Set a field if it does not exist. Returns 1 if it was set, otherwise 0."""

    async def hdel(self, name: Key, *keys: Value) -> int:
        """Delete fields, and return how many existed."""

    async def hincrby(self, name: Key, key: Value, amount: int = 1) -> int:
        """Add to a field's number and return the result; a missing field counts as 0."""

    async def hincrbyfloat(self, name: Key, key: Value, amount: float = 1.0) -> float:
        """Add to a field's number, in 80-bit extended precision, and return the result."""
