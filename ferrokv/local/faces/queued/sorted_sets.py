# Made by `python -m tools.make_twins` from local/faces/aio/sorted_sets.py; edit that.
"""Sorted sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...commands import sorted_sets
from ...commands.encoding import Key, Value, encode_key, encode_member
from ...commands.zranges import Span
from ..arguments import (
    Cast,
    Names,
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
from .sorted_set_ranges import QueuedSortedSetRanges

RankAndScore = list[int | float]
"""[position, score]"""


class QueuedSortedSetReads(QueuedSortedSetRanges):
    """What can be asked of sorted sets."""

    __slots__ = ()

    def zcard(self, name: Key) -> Any:
        """How many members the sorted set has. O(1)."""
        return self._query(sorted_sets.length, encode_key(name))

    def zscore(self, name: Key, value: Value) -> Any:
        """The score of a member, or None."""
        return self._query(sorted_sets.score, encode_key(name), encode_member(value))

    def zmscore(self, key: Key, members: Sequence[Value]) -> Any:
        """The scores in the order of the members, None for missing ones."""
        return self._query(sorted_sets.scores_of, encode_key(key), encode_members(members, "zmscore"))

    def zrank(self, name: Key, value: Value, withscore: bool = False) -> Any:
        """The position of a member from the lowest score on, or None; with `withscore`, [position, score]. O(position)."""
        return self._query(sorted_sets.rank, encode_key(name), encode_member(value), False, withscore)

    def zrevrank(self, name: Key, value: Value, withscore: bool = False) -> Any:
        """As `zrank`, from the highest score on."""
        return self._query(sorted_sets.rank, encode_key(name), encode_member(value), True, withscore)

    def zrandmember(
        self, key: Key, count: int | None = None, withscores: bool = False
    ) -> Any:
        """A random member or None; with `count` a list: different ones, or with repetition if negative. O(n)."""
        number = None if count is None else check_choice(count)
        return self._query(sorted_sets.random_members, encode_key(key), number, withscores)

    def zunion(
        self,
        keys: Names | Mapping[Any, float],
        aggregate: str | None = None,
        withscores: bool = False,
        score_cast_func: Cast = float,
    ) -> Any:
        """The members that any has, scores weighted and added (or "MIN", "MAX"). A set counts with scores of 1."""
        wanted = (encode_weights(keys, "zunion"), check_aggregate(aggregate))
        if not withscores:
            return self._query(sorted_sets.combined_members, "union", *wanted)
        return self._query(sorted_sets.combined_scores, "union", *wanted, score_cast_func)

    def zinter(
        self,
        keys: Names | Mapping[Any, float],
        aggregate: str | None = None,
        withscores: bool = False,
    ) -> Any:
        """As `zunion`, the members that all have."""
        wanted = (encode_weights(keys, "zinter"), check_aggregate(aggregate))
        if not withscores:
            return self._query(sorted_sets.combined_members, "inter", *wanted)
        return self._query(sorted_sets.combined_scores, "inter", *wanted, float)

    def zdiff(
        self,
        keys: Names,
        withscores: bool = False,
    ) -> Any:
        """The members of the first that no other has; with `withscores`, (member, score)."""
        wanted = (encode_weights(keys, "zdiff"), check_aggregate(None))
        if not withscores:
            return self._query(sorted_sets.combined_members, "diff", *wanted)
        return self._query(sorted_sets.combined_scores, "diff", *wanted, float)

    def zintercard(self, numkeys: int, keys: Sequence[Key], limit: int = 0) -> Any:
        """How many members all have, counted up to `limit` unless that is 0."""
        names = check_numkeys(numkeys, encode_names(keys), "at least 1 input key is needed for 'zintercard' command")
        return self._query(sorted_sets.count_common, names, check_int(limit))


class QueuedSortedSetWrites(CommandBase):
    """What can be done to sorted sets."""

    __slots__ = ()

    def zadd(
        self,
        name: Key,
        mapping: Mapping[Any, Value],
        nx: bool = False,
        xx: bool = False,
        ch: bool = False,
        incr: bool = False,
        gt: bool = False,
        lt: bool = False,
    ) -> Any:
        """How many members are new (with `ch`: or have another score); with `incr`, the one member's new score or None."""
        options = make_add_options(mapping, nx, xx, gt, lt, ch, incr)
        scores = encode_scores(mapping)
        if incr:
            return self._write(sorted_sets.increment, encode_key(name), scores[0][1], scores[0][0], options)
        return self._write(sorted_sets.add, encode_key(name), scores, options)

    def zincrby(self, name: Key, amount: float, value: Value) -> Any:
        """The member's score after adding; a missing one counts as 0."""
        number = encode_score_value(amount)
        return self._write(sorted_sets.increment, encode_key(name), number, encode_member(value))

    def zrem(self, name: Key, *values: Value) -> Any:
        """How many of the members there were; they are gone."""
        return self._write(sorted_sets.remove, encode_key(name), encode_members(values, "zrem"))

    def zpopmin(self, name: Key, count: int | None = None) -> Any:
        """(member, score) of the lowest, or of up to `count`; they are gone."""
        number = 1 if count is None else check_count(count)
        return self._write(sorted_sets.pop, encode_key(name), number, True)

    def zpopmax(self, name: Key, count: int | None = None) -> Any:
        """As `zpopmin`, from the highest on."""
        number = 1 if count is None else check_count(count)
        return self._write(sorted_sets.pop, encode_key(name), number, False)

    def bzpopmin(self, keys: Names, timeout: float | None = 0) -> Any:
        """(key, member, score) of the first that has one, waiting as `blpop` does; else None."""
        names = encode_some_names(keys, (), "bzpopmin")
        return self._wait_for(timeout, names, sorted_sets.pop_first, names, True)

    def bzpopmax(self, keys: Names, timeout: float | None = 0) -> Any:
        """As `bzpopmin`, with the highest score."""
        names = encode_some_names(keys, (), "bzpopmax")
        return self._wait_for(timeout, names, sorted_sets.pop_first, names, False)

    def zremrangebyrank(self, name: Key, min: int, max: int) -> Any:
        """How many were removed from position `min` to `max`."""
        return self._write(sorted_sets.remove_span, encode_key(name), Span.by_rank(min, max))

    def zremrangebyscore(self, name: Key, min: Value, max: Value) -> Any:
        """How many were removed with a score from `min` to `max`."""
        return self._write(sorted_sets.remove_span, encode_key(name), Span.by_score(min, max))

    def zremrangebylex(self, name: Key, min: Value, max: Value) -> Any:
        """How many were removed from member `min` to `max`."""
        return self._write(sorted_sets.remove_span, encode_key(name), Span.by_member(min, max))

    def zrangestore(
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
    ) -> Any:
        """How many members `dest` has, which is now what `zrange` answers."""
        span = make_span(start, end, desc, byscore, bylex, offset, num)
        return self._write(sorted_sets.store_span, encode_key(dest), encode_key(name), span)

    def zunionstore(self, dest: Key, keys: Names | Mapping[Any, float], aggregate: str | None = None) -> Any:
        """How many members `dest` has, which is now what `zunion` answers."""
        wanted = (encode_weights(keys, "zunionstore"), check_aggregate(aggregate))
        return self._write(sorted_sets.store, encode_key(dest), "union", *wanted)

    def zinterstore(self, dest: Key, keys: Names | Mapping[Any, float], aggregate: str | None = None) -> Any:
        """How many members `dest` has, which is now what `zinter` answers."""
        wanted = (encode_weights(keys, "zinterstore"), check_aggregate(aggregate))
        return self._write(sorted_sets.store, encode_key(dest), "inter", *wanted)

    def zdiffstore(self, dest: Key, keys: Names) -> Any:
        """How many members `dest` has, which is now what `zdiff` answers."""
        wanted = (encode_weights(keys, "zdiffstore"), check_aggregate(None))
        return self._write(sorted_sets.store, encode_key(dest), "diff", *wanted)
