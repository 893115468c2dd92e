"""Ranges of a sorted set: by rank, score or member, in both directions, with offset and limit."""

from __future__ import annotations

from typing import Any, Final, Literal, NamedTuple

from ...contract.encoding import Value, encode_value
from ...errors import DataError, ResponseError
from ..storage.requests import Op
from ..tree.records import Records
from .collections import OpenCollection, read_range
from .counters import decode_integer
from .floats import decode_score, encode_score, score_of

BY_MEMBER: Final = b"m"
BY_SCORE: Final = b"s"
_AFTER_MEMBERS: Final = b"n"
_AFTER_SCORES: Final = b"t"
NOT_A_FLOAT: Final = "min or max is not a float"
NOT_A_STRING: Final = "min or max not valid string range item"
Scored = list[tuple[bytes, float]]


class Span(NamedTuple):
    """A range of members.

    For "rank", it is positions [first, last] as Redis counts them; otherwise elements [low, high)
    of an index. `skip` and `limit` count in reading direction; a negative limit means none.
    """

    kind: Literal["rank", "score", "member"]
    low: bytes = b""
    high: bytes = b""
    first: int = 0
    last: int = -1
    reverse: bool = False
    skip: int = 0
    limit: int = -1

    @classmethod
    def everything(cls) -> Span:
        """All members, by score."""
        return cls("rank")

    @classmethod
    def by_rank(cls, first: Any, last: Any, *, reverse: bool = False) -> Span:
        """Positions from `first` to `last`, both included.

        Negative positions count from the end.
        """
        return cls("rank", first=_position(first), last=_position(last), reverse=reverse)

    @classmethod
    def by_score(cls, low: Value, high: Value, *, reverse: bool = False) -> Span:
        """Scores from `low` to `high` in Redis's notation: "5", "(5" or an infinity."""
        (least, least_open), (most, most_open) = _score_bound(low), _score_bound(high)
        # The members follow the score in the key; after all of them comes the next score.
        start = encode_score(least) if not least_open else _after(encode_score(least))
        end = _after(encode_score(most)) if not most_open else encode_score(most)
        return cls("score", BY_SCORE + start, BY_SCORE + end, reverse=reverse)

    @classmethod
    def by_member(cls, low: Value, high: Value, *, reverse: bool = False) -> Span:
        """Members from `low` to `high` in Redis's notation: "-", "+", "[x" or "(x"."""
        return cls("member", _member_bound(low, above=False), _member_bound(high, above=True), reverse=reverse)

    def part(self, skip: Any, limit: Any) -> Span:
        """Skip the first `skip` members and return at most `limit`.

        None for both changes nothing.
        """
        if (skip is None) != (limit is None):
            raise DataError("``start`` and ``num`` (or ``offset`` and ``num``) must both be specified")
        return self if skip is None else self._replace(skip=_position(skip), limit=_position(limit))

    def read(self, records: Records, opened: OpenCollection) -> Op[Scored]:
        """Return (member, score) pairs in reading direction."""
        if self.kind == "rank":
            return (yield from self._read_ranks(records, opened))
        if self.low >= self.high or self.skip < 0:
            return []
        if self.kind == "score":
            pairs = yield from self._read_index(records, opened, self.low, self.high)
            return [(element[9:], score_of(element[1:9])) for element, _ in pairs]
        pairs = yield from self._read_index(records, opened, self.low, self.high)
        return [(element[1:], score_of(data)) for element, data in pairs]

    def _read_index(
        self, records: Records, opened: OpenCollection, low: bytes, high: bytes
    ) -> Op[list[tuple[bytes, bytes]]]:
        prefix = opened.prefix
        wanted = None if self.limit < 0 else self.skip + self.limit
        pairs = yield from read_range(
            records, prefix + low, prefix + high, len(prefix), reverse=self.reverse, limit=wanted
        )
        return pairs[self.skip :]

    def _read_ranks(self, records: Records, opened: OpenCollection) -> Op[Scored]:
        size = opened.root.size
        first = max(self.first + size if self.first < 0 else self.first, 0)
        last = min(self.last + size if self.last < 0 else self.last, size - 1)
        if first > last:
            return []
        prefix = opened.prefix
        # Read from the nearer end.
        turned = first > size - 1 - last
        near = size - 1 - last if turned else first
        pairs = yield from read_range(
            records,
            prefix + BY_SCORE,
            prefix + _AFTER_SCORES,
            len(prefix),
            reverse=self.reverse != turned,
            limit=near + last - first + 1,
        )
        chosen = pairs[near:]
        if turned:
            chosen.reverse()
        return [(element[9:], score_of(element[1:9])) for element, _ in chosen]


def _position(value: Any) -> int:
    number = decode_integer(encode_value(value))
    if number is None:
        raise ResponseError("value is not an integer or out of range")
    return number


def _after(data: bytes) -> bytes:
    """Return the next larger value of eight bytes."""
    return (int.from_bytes(data, "big") + 1).to_bytes(8, "big")


def _score_bound(bound: Value) -> tuple[float, bool]:
    """Return the score, and whether it is excluded."""
    text = encode_value(bound)
    is_open = text.startswith(b"(")
    # An empty number counts as zero, as by strtod.
    return decode_score(text[is_open:] or b"0", NOT_A_FLOAT), is_open


def _member_bound(bound: Value, *, above: bool) -> bytes:
    """Return where a range of the index by member begins, or with `above` where it ends."""
    text = encode_value(bound)
    if text == b"-":
        return BY_MEMBER
    if text == b"+":
        return _AFTER_MEMBERS
    if text[:1] not in (b"[", b"("):
        raise ResponseError(NOT_A_STRING)
    # Appending a zero byte gives the next possible member.
    is_behind = (text[:1] == b"(") != above
    return BY_MEMBER + text[1:] + (b"\0" if is_behind else b"")
