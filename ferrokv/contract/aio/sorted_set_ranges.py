# Made by `python -m tools.make_contract` from local/faces/aio/sorted_set_ranges.py; edit that.
"""Ranges of sorted sets, by position, score or member."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol, TypeVar, overload

from ..encoding import Cast, Key, Value

T = TypeVar("T")


class AsyncSortedSetRanges(Protocol):
    """Commands that read parts of sorted sets."""

    async def zcount(self, name: Key, min: Value, max: Value) -> int:
        """Return how many members have a score from `min` to `max`."""

    async def zlexcount(self, name: Key, min: Value, max: Value) -> int:
        """Return how many members lie from `min` to `max`."""

    @overload
    async def zrange(
        self,
        name: Key,
        start: Value,
        end: Value,
        desc: bool = False,
        withscores: Literal[False] = False,
        score_cast_func: Cast = float,
        byscore: bool = False,
        bylex: bool = False,
        offset: int | None = None,
        num: int | None = None,
    ) -> list[bytes]: ...

    @overload
    async def zrange(
        self,
        name: Key,
        start: Value,
        end: Value,
        desc: bool = False,
        *,
        withscores: Literal[True],
        byscore: bool = False,
        bylex: bool = False,
        offset: int | None = None,
        num: int | None = None,
    ) -> list[tuple[bytes, float]]: ...

    @overload
    async def zrange(
        self,
        name: Key,
        start: Value,
        end: Value,
        desc: bool = False,
        *,
        withscores: Literal[True],
        score_cast_func: Callable[[float], T],
        byscore: bool = False,
        bylex: bool = False,
        offset: int | None = None,
        num: int | None = None,
    ) -> list[tuple[bytes, T]]: ...

    async def zrange(
        self,
        name: Key,
        start: Value,
        end: Value,
        desc: bool = False,
        withscores: bool = False,
        score_cast_func: Cast = float,
        byscore: bool = False,
        bylex: bool = False,
        offset: int | None = None,
        num: int | None = None,
    ) -> list[bytes] | list[tuple[bytes, Any]]:
        """Return the members of a range, in order, or in reverse order with `desc`."""

    @overload
    async def zrevrange(
        self, name: Key, start: int, end: int, withscores: Literal[False] = False, score_cast_func: Cast = float
    ) -> list[bytes]: ...

    @overload
    async def zrevrange(
        self, name: Key, start: int, end: int, *, withscores: Literal[True]
    ) -> list[tuple[bytes, float]]: ...

    @overload
    async def zrevrange(
        self, name: Key, start: int, end: int, *, withscores: Literal[True], score_cast_func: Callable[[float], T]
    ) -> list[tuple[bytes, T]]: ...

    async def zrevrange(
        self, name: Key, start: int, end: int, withscores: bool = False, score_cast_func: Cast = float
    ) -> list[bytes] | list[tuple[bytes, Any]]:
        """As `zrange` with `desc`."""

    @overload
    async def zrangebyscore(
        self,
        name: Key,
        min: Value,
        max: Value,
        start: int | None = None,
        num: int | None = None,
        withscores: Literal[False] = False,
        score_cast_func: Cast = float,
    ) -> list[bytes]: ...

    @overload
    async def zrangebyscore(
        self,
        name: Key,
        min: Value,
        max: Value,
        start: int | None = None,
        num: int | None = None,
        *,
        withscores: Literal[True],
    ) -> list[tuple[bytes, float]]: ...

    @overload
    async def zrangebyscore(
        self,
        name: Key,
        min: Value,
        max: Value,
        start: int | None = None,
        num: int | None = None,
        *,
        withscores: Literal[True],
        score_cast_func: Callable[[float], T],
    ) -> list[tuple[bytes, T]]: ...

    async def zrangebyscore(
        self,
        name: Key,
        min: Value,
        max: Value,
        start: int | None = None,
        num: int | None = None,
        withscores: bool = False,
        score_cast_func: Cast = float,
    ) -> list[bytes] | list[tuple[bytes, Any]]:
        """As `zrange` by score, skipping the first `start` members and returning at most `num`."""

    @overload
    async def zrevrangebyscore(
        self,
        name: Key,
        max: Value,
        min: Value,
        start: int | None = None,
        num: int | None = None,
        withscores: Literal[False] = False,
        score_cast_func: Cast = float,
    ) -> list[bytes]: ...

    @overload
    async def zrevrangebyscore(
        self,
        name: Key,
        max: Value,
        min: Value,
        start: int | None = None,
        num: int | None = None,
        *,
        withscores: Literal[True],
    ) -> list[tuple[bytes, float]]: ...

    @overload
    async def zrevrangebyscore(
        self,
        name: Key,
        max: Value,
        min: Value,
        start: int | None = None,
        num: int | None = None,
        *,
        withscores: Literal[True],
        score_cast_func: Callable[[float], T],
    ) -> list[tuple[bytes, T]]: ...

    async def zrevrangebyscore(
        self,
        name: Key,
        max: Value,
        min: Value,
        start: int | None = None,
        num: int | None = None,
        withscores: bool = False,
        score_cast_func: Cast = float,
    ) -> list[bytes] | list[tuple[bytes, Any]]:
        """As `zrangebyscore`, from the highest score down."""

    async def zrangebylex(
        self, name: Key, min: Value, max: Value, start: int | None = None, num: int | None = None
    ) -> list[bytes]:
        """As `zrange` by member, skipping the first `start` members and returning at most `num`."""

    async def zrevrangebylex(
        self, name: Key, max: Value, min: Value, start: int | None = None, num: int | None = None
    ) -> list[bytes]:
        """As `zrangebylex`, from the last member back."""
