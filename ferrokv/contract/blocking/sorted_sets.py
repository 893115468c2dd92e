# Made by `python -m tools.make_twins` from contract/aio/sorted_sets.py; edit that.
"""Commands on sorted sets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeVar, overload

from ..encoding import Cast, Key, Names, RankAndScore, Value
from .sorted_set_ranges import BlockingSortedSetRanges

T = TypeVar("T")


class BlockingSortedSetReads(BlockingSortedSetRanges, Protocol):
    """Commands that read sorted sets."""

    def zcard(self, name: Key) -> int:
        """Return the number of members. O(1)."""

    def zscore(self, name: Key, value: Value) -> float | None:
        """Return the score of a member, or None."""

    def zmscore(self, key: Key, members: Sequence[Value]) -> list[float | None]:
        """Return the scores in the order of the members; None for missing members."""

    @overload
    def zrank(self, name: Key, value: Value, withscore: Literal[False] = False) -> int | None: ...

    @overload
    def zrank(self, name: Key, value: Value, withscore: Literal[True]) -> RankAndScore | None: ...

    def zrank(self, name: Key, value: Value, withscore: bool = False) -> int | RankAndScore | None:
        """Return a member's position, counting from the lowest score, or None. O(position)."""

    @overload
    def zrevrank(self, name: Key, value: Value, withscore: Literal[False] = False) -> int | None: ...

    @overload
    def zrevrank(self, name: Key, value: Value, withscore: Literal[True]) -> RankAndScore | None: ...

    def zrevrank(self, name: Key, value: Value, withscore: bool = False) -> int | RankAndScore | None:
        """As `zrank`, counting from the highest score."""

    @overload
    def zrandmember(self, key: Key, count: None = None, withscores: bool = False) -> bytes | None: ...

    @overload
    def zrandmember(self, key: Key, count: int, withscores: Literal[False] = False) -> list[bytes]: ...

    @overload
    def zrandmember(self, key: Key, count: int, withscores: Literal[True]) -> list[bytes | float]: ...

    def zrandmember(
        self, key: Key, count: int | None = None, withscores: bool = False
    ) -> bytes | list[bytes] | list[bytes | float] | None:
        """Return a random member, or None. O(n)."""

    @overload
    def zunion(
        self,
        keys: Names | Mapping[Any, float],
        aggregate: str | None = None,
        withscores: Literal[False] = False,
        score_cast_func: Cast = float,
    ) -> list[bytes]: ...

    @overload
    def zunion(
        self, keys: Names | Mapping[Any, float], aggregate: str | None = None, *, withscores: Literal[True]
    ) -> list[tuple[bytes, float]]: ...

    @overload
    def zunion(
        self,
        keys: Names | Mapping[Any, float],
        aggregate: str | None = None,
        *,
        withscores: Literal[True],
        score_cast_func: Callable[[float], T],
    ) -> list[tuple[bytes, T]]: ...

    def zunion(
        self,
        keys: Names | Mapping[Any, float],
        aggregate: str | None = None,
        withscores: bool = False,
        score_cast_func: Cast = float,
    ) -> list[bytes] | list[tuple[bytes, Any]]:
        """Return the members of any of the sorted sets."""

    @overload
    def zinter(
        self, keys: Names | Mapping[Any, float], aggregate: str | None = None, withscores: Literal[False] = False
    ) -> list[bytes]: ...

    @overload
    def zinter(
        self, keys: Names | Mapping[Any, float], aggregate: str | None = None, *, withscores: Literal[True]
    ) -> list[tuple[bytes, float]]: ...

    def zinter(
        self, keys: Names | Mapping[Any, float], aggregate: str | None = None, withscores: bool = False
    ) -> list[bytes] | list[tuple[bytes, Any]]:
        """As `zunion`, but return the members common to all of them."""

    @overload
    def zdiff(self, keys: Names, withscores: Literal[False] = False) -> list[bytes]: ...

    @overload
    def zdiff(self, keys: Names, *, withscores: Literal[True]) -> list[tuple[bytes, float]]: ...

    def zdiff(self, keys: Names, withscores: bool = False) -> list[bytes] | list[tuple[bytes, Any]]:
        """Return the members of the first that are in none of the others."""

    def zintercard(self, numkeys: int, keys: Sequence[Key], limit: int = 0) -> int:
        """Return how many members all of them share, counting up to `limit` (0: no limit)."""


class BlockingSortedSetWrites(Protocol):
    """Commands that write sorted sets."""

    @overload
    def zadd(
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
    def zadd(
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
    ) -> int | float | None:
        """Set scores, and return how many members are new; with `ch`, how many are new or changed."""

    def zincrby(self, name: Key, amount: float, value: Value) -> float | None:
        """Add to a member's score and return the result; a missing member counts as 0."""

    def zrem(self, name: Key, *values: Value) -> int:
        """Remove members, and return how many existed."""

    def zpopmin(self, name: Key, count: int | None = None) -> list[tuple[bytes, float]]:
        """Remove the lowest member, or up to `count`; returns (member, score) pairs."""

    def zpopmax(self, name: Key, count: int | None = None) -> list[tuple[bytes, float]]:
        """As `zpopmin`, from the highest score down."""

    def bzpopmin(self, keys: Names, timeout: float | None = 0) -> tuple[bytes, bytes, float] | None:
        """Pop the lowest member of the first sorted set that has one; waits as `blpop` does."""

    def bzpopmax(self, keys: Names, timeout: float | None = 0) -> tuple[bytes, bytes, float] | None:
        """As `bzpopmin`, but pop the highest member."""

    def zremrangebyrank(self, name: Key, min: int, max: int) -> int:
        """Remove the members from position `min` to `max`, and return how many there were."""

    def zremrangebyscore(self, name: Key, min: Value, max: Value) -> int:
        """Remove the members with a score from `min` to `max`, and return how many there were."""

    def zremrangebylex(self, name: Key, min: Value, max: Value) -> int:
        """Remove the members between `min` and `max`, and return how many there were."""

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
    ) -> int:
        """Store the result of `zrange` at `dest`, and return how many members it has."""

    def zunionstore(self, dest: Key, keys: Names | Mapping[Any, float], aggregate: str | None = None) -> int:
        """Store the result of `zunion` at `dest`, and return how many members it has."""

    def zinterstore(self, dest: Key, keys: Names | Mapping[Any, float], aggregate: str | None = None) -> int:
        """Store the result of `zinter` at `dest`, and return how many members it has."""

    def zdiffstore(self, dest: Key, keys: Names) -> int:
        """Store the result of `zdiff` at `dest`, and return how many members it has."""
