# Made by `python -m tools.make_twins` from local/faces/aio/sorted_set_ranges.py; edit that.
"""Ranges of sorted sets, by position, score or member."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar, overload

from ....contract.encoding import Cast, Key, Value, encode_key
from ...commands import sorted_sets
from ...commands.zranges import Span
from ..arguments import make_span
from .command_base import CommandBase

T = TypeVar("T")


class BlockingSortedSetRanges(CommandBase):
    """Commands that read parts of sorted sets."""

    __slots__ = ()

    def zcount(self, name: Key, min: Value, max: Value) -> int:
        """Return how many members have a score from `min` to `max`.

        "(5" excludes 5; "-inf" and "+inf" stand for the ends.
        """
        return self._query(sorted_sets.count, encode_key(name), Span.by_score(min, max))

    def zlexcount(self, name: Key, min: Value, max: Value) -> int:
        """Return how many members lie from `min` to `max`.

        "[a" includes a, "(a" excludes it; "-" and "+" stand for the ends.
        """
        return self._query(sorted_sets.count, encode_key(name), Span.by_member(min, max))

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
        """Return the members of a range, in order, or in reverse order with `desc`.

        The range goes from position `start` to `end`; with `byscore` from score to score, with
        `bylex` from member to member. With `withscores`, returns (member, score) pairs.
        """
        span = make_span(start, end, desc, byscore, bylex, offset, num)
        return self._zrange(name, span, withscores, score_cast_func)

    @overload
    def zrevrange(
        self,
        name: Key,
        start: int,
        end: int,
        withscores: Literal[False] = False,
        score_cast_func: Cast = float,
    ) -> list[bytes]: ...
    @overload
    def zrevrange(
        self,
        name: Key,
        start: int,
        end: int,
        *,
        withscores: Literal[True],
    ) -> list[tuple[bytes, float]]: ...
    @overload
    def zrevrange(
        self,
        name: Key,
        start: int,
        end: int,
        *,
        withscores: Literal[True],
        score_cast_func: Callable[[float], T],
    ) -> list[tuple[bytes, T]]: ...
    def zrevrange(
        self,
        name: Key,
        start: int,
        end: int,
        withscores: bool = False,
        score_cast_func: Cast = float,
    ) -> list[bytes] | list[tuple[bytes, Any]]:
        """As `zrange` with `desc`."""
        return self._zrange(name, Span.by_rank(start, end, reverse=True), withscores, score_cast_func)

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
        return self._zrange(name, Span.by_score(min, max).part(start, num), withscores, score_cast_func)

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
        span = Span.by_score(min, max, reverse=True).part(start, num)
        return self._zrange(name, span, withscores, score_cast_func)

    def zrangebylex(
        self, name: Key, min: Value, max: Value, start: int | None = None, num: int | None = None
    ) -> list[bytes]:
        """As `zrange` by member, skipping the first `start` members and returning at most `num`."""
        span = Span.by_member(min, max).part(start, num)
        return self._query(sorted_sets.members_in, encode_key(name), span)

    def zrevrangebylex(
        self, name: Key, max: Value, min: Value, start: int | None = None, num: int | None = None
    ) -> list[bytes]:
        """As `zrangebylex`, from the last member back."""
        span = Span.by_member(min, max, reverse=True).part(start, num)
        return self._query(sorted_sets.members_in, encode_key(name), span)

    def _zrange(self, name: Key, span: Span, withscores: bool, cast: Cast) -> list[bytes] | list[tuple[bytes, Any]]:
        if not withscores:
            return self._query(sorted_sets.members_in, encode_key(name), span)
        return self._query(sorted_sets.scored_in, encode_key(name), span, cast)
