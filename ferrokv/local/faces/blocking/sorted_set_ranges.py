# Made by `python -m tools.make_twins` from local/faces/aio/sorted_set_ranges.py; edit that.
"""Members of sorted sets by position, score or name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar, overload

from ...commands import sorted_sets
from ...commands.encoding import Key, Value, encode_key
from ...commands.zranges import Span
from ..arguments import Cast, make_span
from .command_base import CommandBase

T = TypeVar("T")


class BlockingSortedSetRanges(CommandBase):
    """What can be asked of parts of sorted sets."""

    __slots__ = ()

    def zcount(self, name: Key, min: Value, max: Value) -> int:
        """How many members have a score from `min` to `max`; "(5" leaves 5 out, "-inf" and "+inf" are the ends."""
        return self._query(sorted_sets.count, encode_key(name), Span.by_score(min, max))

    def zlexcount(self, name: Key, min: Value, max: Value) -> int:
        """How many members are from `min` to `max`: "[a", "(a", "-" or "+"."""
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
        """Members from position `start` to `end`, or from score to score, or from member to member; in order, or with `desc`
        from the end on. With `withscores`, (member, score)."""
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
        """As `zrange` by score, without the first `start` members and with `num` at most."""
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
        """As `zrangebyscore`, from the highest score on."""
        span = Span.by_score(min, max, reverse=True).part(start, num)
        return self._zrange(name, span, withscores, score_cast_func)

    def zrangebylex(
        self, name: Key, min: Value, max: Value, start: int | None = None, num: int | None = None
    ) -> list[bytes]:
        """As `zrange` by member, without the first `start` members and with `num` at most."""
        span = Span.by_member(min, max).part(start, num)
        return self._query(sorted_sets.members_in, encode_key(name), span)

    def zrevrangebylex(
        self, name: Key, max: Value, min: Value, start: int | None = None, num: int | None = None
    ) -> list[bytes]:
        """As `zrangebylex`, from the last member on."""
        span = Span.by_member(min, max, reverse=True).part(start, num)
        return self._query(sorted_sets.members_in, encode_key(name), span)

    def _zrange(
        self, name: Key, span: Span, withscores: bool, cast: Cast
    ) -> list[bytes] | list[tuple[bytes, Any]]:
        if not withscores:
            return self._query(sorted_sets.members_in, encode_key(name), span)
        return self._query(sorted_sets.scored_in, encode_key(name), span, cast)
