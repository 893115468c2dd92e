"""Commands on sorted sets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar, overload

from ....contract.encoding import Cast, Key, Names, RankAndScore, Value, encode_key, encode_member
from ...commands import sorted_sets
from ...commands.zranges import Span
from ..arguments import (
    check_aggregate,
    check_choice,
    check_count,
    check_int,
    check_numkeys,
    encode_members,
    encode_names,
    encode_score_value,
    encode_scores,
    encode_some_names,
    encode_weights,
    make_add_options,
    make_span,
)
from .command_base import CommandBase
from .sorted_set_ranges import AsyncSortedSetRanges

T = TypeVar("T")


class AsyncSortedSetReads(AsyncSortedSetRanges):
    """Commands that read sorted sets."""

    __slots__ = ()

    async def zcard(self, name: Key) -> int:
        """Return the number of members. O(1)."""
        return await self._query(sorted_sets.length, encode_key(name))

    async def zscore(self, name: Key, value: Value) -> float | None:
        """Return the score of a member, or None."""
        return await self._query(sorted_sets.score, encode_key(name), encode_member(value))

    async def zmscore(self, key: Key, members: Sequence[Value]) -> list[float | None]:
        """Return the scores in the order of the members; None for missing members."""
        return await self._query(sorted_sets.scores_of, encode_key(key), encode_members(members, "zmscore"))

    @overload
    async def zrank(self, name: Key, value: Value, withscore: Literal[False] = False) -> int | None: ...
    @overload
    async def zrank(self, name: Key, value: Value, withscore: Literal[True]) -> RankAndScore | None: ...
    async def zrank(self, name: Key, value: Value, withscore: bool = False) -> int | RankAndScore | None:
        """Return a member's position, counting from the lowest score, or None. O(position).

        With `withscore`, returns [position, score].
        """
        return await self._query(sorted_sets.rank, encode_key(name), encode_member(value), False, withscore)

    @overload
    async def zrevrank(self, name: Key, value: Value, withscore: Literal[False] = False) -> int | None: ...
    @overload
    async def zrevrank(self, name: Key, value: Value, withscore: Literal[True]) -> RankAndScore | None: ...
    async def zrevrank(self, name: Key, value: Value, withscore: bool = False) -> int | RankAndScore | None:
        """As `zrank`, counting from the highest score."""
        return await self._query(sorted_sets.rank, encode_key(name), encode_member(value), True, withscore)

    @overload
    async def zrandmember(self, key: Key, count: None = None, withscores: bool = False) -> bytes | None: ...
    @overload
    async def zrandmember(self, key: Key, count: int, withscores: Literal[False] = False) -> list[bytes]: ...
    @overload
    async def zrandmember(self, key: Key, count: int, withscores: Literal[True]) -> list[bytes | float]: ...
    async def zrandmember(
        self, key: Key, count: int | None = None, withscores: bool = False
    ) -> bytes | list[bytes] | list[bytes | float] | None:
        """Return a random member, or None. O(n).

        With `count`, returns a list of distinct members; a negative count allows repetition.
        """
        number = None if count is None else check_choice(count)
        return await self._query(sorted_sets.random_members, encode_key(key), number, withscores)

    @overload
    async def zunion(
        self,
        keys: Names | Mapping[Any, float],
        aggregate: str | None = None,
        withscores: Literal[False] = False,
        score_cast_func: Cast = float,
    ) -> list[bytes]: ...
    @overload
    async def zunion(
        self,
        keys: Names | Mapping[Any, float],
        aggregate: str | None = None,
        *,
        withscores: Literal[True],
    ) -> list[tuple[bytes, float]]: ...
    @overload
    async def zunion(
        self,
        keys: Names | Mapping[Any, float],
        aggregate: str | None = None,
        *,
        withscores: Literal[True],
        score_cast_func: Callable[[float], T],
    ) -> list[tuple[bytes, T]]: ...
    async def zunion(
        self,
        keys: Names | Mapping[Any, float],
        aggregate: str | None = None,
        withscores: bool = False,
        score_cast_func: Cast = float,
    ) -> list[bytes] | list[tuple[bytes, Any]]:
        """Return the members of any of the sorted sets.

        Scores are multiplied by the weights of a mapping, then added, or combined by `aggregate`
        "MIN" or "MAX". A plain set counts as a sorted set with scores of 1.
        """
        wanted = (encode_weights(keys, "zunion"), check_aggregate(aggregate))
        if not withscores:
            return await self._query(sorted_sets.combined_members, "union", *wanted)
        return await self._query(sorted_sets.combined_scores, "union", *wanted, score_cast_func)

    @overload
    async def zinter(
        self,
        keys: Names | Mapping[Any, float],
        aggregate: str | None = None,
        withscores: Literal[False] = False,
    ) -> list[bytes]: ...
    @overload
    async def zinter(
        self,
        keys: Names | Mapping[Any, float],
        aggregate: str | None = None,
        *,
        withscores: Literal[True],
    ) -> list[tuple[bytes, float]]: ...
    async def zinter(
        self,
        keys: Names | Mapping[Any, float],
        aggregate: str | None = None,
        withscores: bool = False,
    ) -> list[bytes] | list[tuple[bytes, Any]]:
        """As `zunion`, but return the members common to all of them."""
        wanted = (encode_weights(keys, "zinter"), check_aggregate(aggregate))
        if not withscores:
            return await self._query(sorted_sets.combined_members, "inter", *wanted)
        return await self._query(sorted_sets.combined_scores, "inter", *wanted, float)

    @overload
    async def zdiff(
        self,
        keys: Names,
        withscores: Literal[False] = False,
    ) -> list[bytes]: ...
    @overload
    async def zdiff(
        self,
        keys: Names,
        *,
        withscores: Literal[True],
    ) -> list[tuple[bytes, float]]: ...
    async def zdiff(
        self,
        keys: Names,
        withscores: bool = False,
    ) -> list[bytes] | list[tuple[bytes, Any]]:
        """Return the members of the first that are in none of the others.

        With `withscores`, returns (member, score) pairs.
        """
        wanted = (encode_weights(keys, "zdiff"), check_aggregate(None))
        if not withscores:
            return await self._query(sorted_sets.combined_members, "diff", *wanted)
        return await self._query(sorted_sets.combined_scores, "diff", *wanted, float)

    async def zintercard(self, numkeys: int, keys: Sequence[Key], limit: int = 0) -> int:
        """Return how many members all of them share, counting up to `limit` (0: no limit)."""
        names = check_numkeys(numkeys, encode_names(keys), "at least 1 input key is needed for 'zintercard' command")
        return await self._query(sorted_sets.count_common, names, check_int(limit))


class AsyncSortedSetWrites(CommandBase):
    """Commands that write sorted sets."""

    __slots__ = ()

    @overload
    async def zadd(
        self,
        name: Key,
        mapping: Mapping[Any, Value],
        nx: bool = False,
        xx: bool = False,
        ch: bool = False,
        incr: Literal[False] = False,
        gt: bool = False,
        lt: bool = False,
    ) -> int: ...
    @overload
    async def zadd(
        self,
        name: Key,
        mapping: Mapping[Any, Value],
        nx: bool = False,
        xx: bool = False,
        ch: bool = False,
        *,
        incr: Literal[True],
        gt: bool = False,
        lt: bool = False,
    ) -> float | None: ...
    async def zadd(
        self,
        name: Key,
        mapping: Mapping[Any, Value],
        nx: bool = False,
        xx: bool = False,
        ch: bool = False,
        incr: bool = False,
        gt: bool = False,
        lt: bool = False,
    ) -> int | float | None:
        """Set scores, and return how many members are new; with `ch`, how many are new or changed.

        With `incr`, adds to the score of the one member instead, and returns the new score, or None
        if an option prevented it.
        """
        options = make_add_options(mapping, nx, xx, gt, lt, ch, incr)
        scores = encode_scores(mapping)
        if incr:
            return await self._write(sorted_sets.increment, encode_key(name), scores[0][1], scores[0][0], options)
        return await self._write(sorted_sets.add, encode_key(name), scores, options)

    async def zincrby(self, name: Key, amount: float, value: Value) -> float | None:
        """Add to a member's score and return the result; a missing member counts as 0."""
        number = encode_score_value(amount)
        return await self._write(sorted_sets.increment, encode_key(name), number, encode_member(value))

    async def zrem(self, name: Key, *values: Value) -> int:
        """Remove members, and return how many existed."""
        return await self._write(sorted_sets.remove, encode_key(name), encode_members(values, "zrem"))

    async def zpopmin(self, name: Key, count: int | None = None) -> list[tuple[bytes, float]]:
        """Remove the lowest member, or up to `count`; returns (member, score) pairs."""
        number = 1 if count is None else check_count(count)
        return await self._write(sorted_sets.pop, encode_key(name), number, True)

    async def zpopmax(self, name: Key, count: int | None = None) -> list[tuple[bytes, float]]:
        """As `zpopmin`, from the highest score down."""
        number = 1 if count is None else check_count(count)
        return await self._write(sorted_sets.pop, encode_key(name), number, False)

    async def bzpopmin(self, keys: Names, timeout: float | None = 0) -> tuple[bytes, bytes, float] | None:
        """Pop the lowest member of the first sorted set that has one; waits as `blpop` does.

        Returns (key, member, score), or None.
        """
        names = encode_some_names(keys, (), "bzpopmin")
        return await self._wait_for(timeout, names, sorted_sets.pop_first, names, True)

    async def bzpopmax(self, keys: Names, timeout: float | None = 0) -> tuple[bytes, bytes, float] | None:
        """As `bzpopmin`, but pop the highest member."""
        names = encode_some_names(keys, (), "bzpopmax")
        return await self._wait_for(timeout, names, sorted_sets.pop_first, names, False)

    async def zremrangebyrank(self, name: Key, min: int, max: int) -> int:
        """Remove the members from position `min` to `max`, and return how many there were."""
        return await self._write(sorted_sets.remove_span, encode_key(name), Span.by_rank(min, max))

    async def zremrangebyscore(self, name: Key, min: Value, max: Value) -> int:
        """Remove the members with a score from `min` to `max`, and return how many there were."""
        return await self._write(sorted_sets.remove_span, encode_key(name), Span.by_score(min, max))

    async def zremrangebylex(self, name: Key, min: Value, max: Value) -> int:
        """Remove the members between `min` and `max`, and return how many there were."""
        return await self._write(sorted_sets.remove_span, encode_key(name), Span.by_member(min, max))

    async def zrangestore(
        self,
        dest: Key,
        name: Key,
        start: Value,
        end: Value,
        byscore: bool = False,
        bylex: bool = False,
        desc: bool = False,
        offset: int | None = None,
        num: int | None = None,
    ) -> int:
        """Store the result of `zrange` at `dest`, and return how many members it has."""
        span = make_span(start, end, desc, byscore, bylex, offset, num)
        return await self._write(sorted_sets.store_span, encode_key(dest), encode_key(name), span)

    async def zunionstore(self, dest: Key, keys: Names | Mapping[Any, float], aggregate: str | None = None) -> int:
        """Store the result of `zunion` at `dest`, and return how many members it has."""
        wanted = (encode_weights(keys, "zunionstore"), check_aggregate(aggregate))
        return await self._write(sorted_sets.store, encode_key(dest), "union", *wanted)

    async def zinterstore(self, dest: Key, keys: Names | Mapping[Any, float], aggregate: str | None = None) -> int:
        """Store the result of `zinter` at `dest`, and return how many members it has."""
        wanted = (encode_weights(keys, "zinterstore"), check_aggregate(aggregate))
        return await self._write(sorted_sets.store, encode_key(dest), "inter", *wanted)

    async def zdiffstore(self, dest: Key, keys: Names) -> int:
        """Store the result of `zdiff` at `dest`, and return how many members it has."""
        wanted = (encode_weights(keys, "zdiffstore"), check_aggregate(None))
        return await self._write(sorted_sets.store, encode_key(dest), "diff", *wanted)
