# Made by `python -m tools.make_twins` from contract/aio/sorted_set_ranges.py; edit that.
"""Ranges of sorted sets, by position, score or member."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol, TypeVar, overload

from ..encoding import Cast, Key, Value

T = TypeVar("T")


class BlockingSortedSetRanges(Protocol):
    """Commands that read parts of sorted sets."""

    def zcount(self, name: Key, min: Value, max: Value) -> int:
        """Return how many members have a score from `min` to `max`."""

    def zlexcount(self, name: Key, min: Value, max: Value) -> int:
        """Return how many members lie from `min` to `max`."""

    @overload
    def zrange(
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
    def zrange(
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
    def zrange(
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

    def zrange(
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
    def zrevrange(
        self, name: Key, start: int, end: int, withscores: Literal[False] = False, score_cast_func: Cast = float
    ) -> list[bytes]: ...

    @overload
    def zrevrange(self, name: Key, start: int, end: int, *, withscores: Literal[True]) -> list[tuple[bytes, float]]: ...

    @overload
    def zrevrange(
        self, name: Key, start: int, end: int, *, withscores: Literal[True], score_cast_func: Callable[[float], T]
    ) -> list[tuple[bytes, T]]: ...

    def zrevrange(
        self, name: Key, start: int, end: int, withscores: bool = False, score_cast_func: Cast = float
    ) -> list[bytes] | list[tuple[bytes, Any]]:
        """As `zrange` with `desc`."""

    @overload
    def zrangebyscore(
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
    def zrangebyscore(
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
    def zrangebyscore(
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

    def zrangebyscore(
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
    def zrevrangebyscore(
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
    def zrevrangebyscore(
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
    def zrevrangebyscore(
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

    def zrevrangebyscore(
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

    def zrangebylex(
        self, name: Key, min: Value, max: Value, start: int | None = None, num: int | None = None
    ) -> list[bytes]:
        """As `zrange` by member, skipping the first `start` members and returning at most `num`."""

    def zrevrangebylex(
        self, name: Key, max: Value, min: Value, start: int | None = None, num: int | None = None
    ) -> list[bytes]:
        """As `zrangebylex`, from the last member back."""
