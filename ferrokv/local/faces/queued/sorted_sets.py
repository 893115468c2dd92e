# Made by `python -m tools.make_twins` from local/faces/aio/sorted_sets.py; edit that.
"""Commands on sorted sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ....contract.encoding import Cast, Key, Names, Value, encode_key, encode_member
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
from .sorted_set_ranges import QueuedSortedSetRanges


class QueuedSortedSetReads(QueuedSortedSetRanges):
    """Commands that read sorted sets."""

    __slots__ = ()

    def zcard(self, name: Key) -> Any:
        """Return the number of members. O(1)."""
        return self._query(sorted_sets.length, encode_key(name))

    def zscore(self, name: Key, value: Value) -> Any:
        """Return the score of a member, or None."""
        return self._query(sorted_sets.score, encode_key(name), encode_member(value))

    def zmscore(self, key: Key, members: Sequence[Value]) -> Any:
        """Return the scores in the order of the members; None for missing members."""
        return self._query(sorted_sets.scores_of, encode_key(key), encode_members(members, "zmscore"))

    def zrank(self, name: Key, value: Value, withscore: bool = False) -> Any:
        """Return a member's position, counting from the lowest score, or None. O(position).

        With `withscore`, returns [position, score].
        """
        return self._query(sorted_sets.rank, encode_key(name), encode_member(value), False, withscore)

    def zrevrank(self, name: Key, value: Value, withscore: bool = False) -> Any:
        """As `zrank`, counting from the highest score."""
        return self._query(sorted_sets.rank, encode_key(name), encode_member(value), True, withscore)

    def zrandmember(
        self, key: Key, count: int | None = None, withscores: bool = False
    ) -> Any:
        """Return a random member, or None. O(n).

        With `count`, returns a list of distinct members; a negative count allows repetition.
        """
        number = None if count is None else check_choice(count)
        return self._query(sorted_sets.random_members, encode_key(key), number, withscores)

    def zunion(
        self,
        keys: Names | Mapping[Any, float],
        aggregate: str | None = None,
        withscores: bool = False,
        score_cast_func: Cast = float,
    ) -> Any:
        """Return the members of any of the sorted sets.

        Scores are multiplied by the weights of a mapping, then added, or combined by `aggregate`
        "MIN" or "MAX". A plain set counts as a sorted set with scores of 1.
        """
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
        """As `zunion`, but return the members common to all of them."""
        wanted = (encode_weights(keys, "zinter"), check_aggregate(aggregate))
        if not withscores:
            return self._query(sorted_sets.combined_members, "inter", *wanted)
        return self._query(sorted_sets.combined_scores, "inter", *wanted, float)

    def zdiff(
        self,
        keys: Names,
        withscores: bool = False,
    ) -> Any:
        """Return the members of the first that are in none of the others.

        With `withscores`, returns (member, score) pairs.
        """
        wanted = (encode_weights(keys, "zdiff"), check_aggregate(None))
        if not withscores:
            return self._query(sorted_sets.combined_members, "diff", *wanted)
        return self._query(sorted_sets.combined_scores, "diff", *wanted, float)

    def zintercard(self, numkeys: int, keys: Sequence[Key], limit: int = 0) -> Any:
        """Return how many members all of them share, counting up to `limit` (0: no limit)."""
        names = check_numkeys(numkeys, encode_names(keys), "at least 1 input key is needed for 'zintercard' command")
        return self._query(sorted_sets.count_common, names, check_int(limit))


class QueuedSortedSetWrites(CommandBase):
    """Commands that write sorted sets."""

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
        """Set scores, and return how many members are new; with `ch`, how many are new or changed.

        With `incr`, adds to the score of the one member instead, and returns the new score, or None
        if an option prevented it.
        """
        options = make_add_options(mapping, nx, xx, gt, lt, ch, incr)
        scores = encode_scores(mapping)
        if incr:
            return self._write(sorted_sets.increment, encode_key(name), scores[0][1], scores[0][0], options)
        return self._write(sorted_sets.add, encode_key(name), scores, options)

    def zincrby(self, name: Key, amount: float, value: Value) -> Any:
        """Add to a member's score and return the result; a missing member counts as 0."""
        number = encode_score_value(amount)
        return self._write(sorted_sets.increment, encode_key(name), number, encode_member(value))

    def zrem(self, name: Key, *values: Value) -> Any:
        """Remove members, and return how many existed."""
        return self._write(sorted_sets.remove, encode_key(name), encode_members(values, "zrem"))

    def zpopmin(self, name: Key, count: int | None = None) -> Any:
        """Remove the lowest member, or up to `count`; returns (member, score) pairs."""
        number = 1 if count is None else check_count(count)
        return self._write(sorted_sets.pop, encode_key(name), number, True)

    def zpopmax(self, name: Key, count: int | None = None) -> Any:
        """As `zpopmin`, from the highest score down."""
        number = 1 if count is None else check_count(count)
        return self._write(sorted_sets.pop, encode_key(name), number, False)

    def bzpopmin(self, keys: Names, timeout: float | None = 0) -> Any:
        """Pop the lowest member of the first sorted set that has one; waits as `blpop` does.

        Returns (key, member, score), or None.
        """
        names = encode_some_names(keys, (), "bzpopmin")
        return self._wait_for(timeout, names, sorted_sets.pop_first, names, True)

    def bzpopmax(self, keys: Names, timeout: float | None = 0) -> Any:
        """As `bzpopmin`, but pop the highest member."""
        names = encode_some_names(keys, (), "bzpopmax")
        return self._wait_for(timeout, names, sorted_sets.pop_first, names, False)

    def zremrangebyrank(self, name: Key, min: int, max: int) -> Any:
        """Remove the members from position `min` to `max`, and return how many there were."""
        return self._write(sorted_sets.remove_span, encode_key(name), Span.by_rank(min, max))

    def zremrangebyscore(self, name: Key, min: Value, max: Value) -> Any:
        """Remove the members with a score from `min` to `max`, and return how many there were."""
        return self._write(sorted_sets.remove_span, encode_key(name), Span.by_score(min, max))

    def zremrangebylex(self, name: Key, min: Value, max: Value) -> Any:
        """Remove the members between `min` and `max`, and return how many there were."""
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
        """Store the result of `zrange` at `dest`, and return how many members it has."""
        span = make_span(start, end, desc, byscore, bylex, offset, num)
        return self._write(sorted_sets.store_span, encode_key(dest), encode_key(name), span)

    def zunionstore(self, dest: Key, keys: Names | Mapping[Any, float], aggregate: str | None = None) -> Any:
        """Store the result of `zunion` at `dest`, and return how many members it has."""
        wanted = (encode_weights(keys, "zunionstore"), check_aggregate(aggregate))
        return self._write(sorted_sets.store, encode_key(dest), "union", *wanted)

    def zinterstore(self, dest: Key, keys: Names | Mapping[Any, float], aggregate: str | None = None) -> Any:
        """Store the result of `zinter` at `dest`, and return how many members it has."""
        wanted = (encode_weights(keys, "zinterstore"), check_aggregate(aggregate))
        return self._write(sorted_sets.store, encode_key(dest), "inter", *wanted)

    def zdiffstore(self, dest: Key, keys: Names) -> Any:
        """Store the result of `zdiff` at `dest`, and return how many members it has."""
        wanted = (encode_weights(keys, "zdiffstore"), check_aggregate(None))
        return self._write(sorted_sets.store, encode_key(dest), "diff", *wanted)
