"""Sorted sets: each member has two elements, by member and by score (docs/format.md section 4).

A range by score or by member reads only what it returns. Ranks are counted, so a range by rank also
reads everything before it, from the nearer end.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Literal, NamedTuple

from ...errors import CorruptionError, ResponseError
from ..format.roots import SORTED_SET
from ..log.transaction import Transaction
from ..storage.requests import Op
from ..tree.records import Records
from .collections import (
    WRONG_TYPE,
    Collection,
    check_root,
    find_collection,
    make_collection,
    open_collection,
    read_range,
)
from .floats import encode_score, score_of
from .hashes import choose
from .sets import Algebra, members_of
from .touched import reads_keys_at
from .zranges import BY_MEMBER, BY_SCORE, Scored, Span

Aggregate = Literal["SUM", "MIN", "MAX"]
NOT_A_NUMBER = "resulting score is not a number (NaN)"


class AddOptions(NamedTuple):
    """The options of ZADD besides members and scores."""

    nx: bool = False
    xx: bool = False
    gt: bool = False
    lt: bool = False
    ch: bool = False


PLAIN: Final = AddOptions()


def _place(found: Collection, member: bytes, old: bytes | None, score: float) -> bool:
    """Set a member's score. False if it is unchanged."""
    new = encode_score(score)
    if old == new:
        return False
    if old is None:
        found.size += 1
    else:
        found.drop(BY_SCORE + old + member)
    found.put(BY_MEMBER + member, new)
    found.put(BY_SCORE + new + member, b"")
    return True


def _allowed(options: AddOptions, old: bytes | None, score: float) -> bool:
    if old is None:
        return not options.xx
    return not (options.nx or (options.gt and score <= score_of(old)) or (options.lt and score >= score_of(old)))


def add(tx: Transaction, key: bytes, scores: Sequence[tuple[bytes, float]], options: AddOptions) -> int:
    """ZADD. Returns how many members are new; with `ch`, how many are new or changed."""
    if any(math.isnan(score) for _, score in scores):
        raise ResponseError("value is not a valid float")
    found = find_collection(tx, key, SORTED_SET)
    if found is None:
        if options.xx:
            return 0
        found = make_collection(tx, key, SORTED_SET)
    size, changed = found.size, 0
    for member, score in scores:
        old = found.get(BY_MEMBER + member)
        if _allowed(options, old, score):
            changed += _place(found, member, old, score)
    if changed:
        found.save()
    return changed if options.ch else found.size - size


def increment(tx: Transaction, key: bytes, amount: float, member: bytes, options: AddOptions = PLAIN) -> float | None:
    """ZINCRBY, and ZADD with INCR. Returns the new score, or None if the options prevented it."""
    if math.isnan(amount):
        raise ResponseError("value is not a valid float")
    found = find_collection(tx, key, SORTED_SET)
    old = None if found is None else found.get(BY_MEMBER + member)
    score = amount if old is None else score_of(old) + amount
    if math.isnan(score):
        raise ResponseError(NOT_A_NUMBER)
    if not _allowed(options, old, score):
        return None
    found = found or make_collection(tx, key, SORTED_SET)
    if _place(found, member, old, score):
        found.save()
    return score


def remove(tx: Transaction, key: bytes, members: Iterable[bytes]) -> int:
    """ZREM. Returns how many of the members existed."""
    found = find_collection(tx, key, SORTED_SET)
    if found is None:
        return 0
    there = [(m, old) for m in dict.fromkeys(members) if (old := found.get(BY_MEMBER + m)) is not None]
    return _drop(found, there)


def _drop(found: Collection, there: Sequence[tuple[bytes, bytes]]) -> int:
    """Remove members, given with their encoded scores."""
    if there:
        found.size -= len(there)
        for member, score in there:
            found.drop(BY_MEMBER + member)
            found.drop(BY_SCORE + score + member)
        found.save()
    return len(there)


def pop(tx: Transaction, key: bytes, count: int, lowest: bool) -> Scored:
    """ZPOPMIN and ZPOPMAX. Removes and returns up to `count` members with their scores."""
    if count < 0:
        raise ResponseError("value is out of range, must be positive")
    found = find_collection(tx, key, SORTED_SET)
    if found is None or not count:
        return []
    pairs = found.range(BY_SCORE, b"t", reverse=not lowest, limit=count)
    there = [(element[9:], element[1:9]) for element, _ in pairs]
    _drop(found, there)
    return [(member, score_of(score)) for member, score in there]


def pop_first(tx: Transaction, keys: Sequence[bytes], lowest: bool) -> tuple[bytes, bytes, float] | None:
    """BZPOPMIN and BZPOPMAX without waiting: the first (key, member, score) there is."""
    for key in keys:
        popped = pop(tx, key, 1, lowest)
        if popped:
            return key, *popped[0]
    return None


@reads_keys_at(0)
def length(records: Records, key: bytes) -> Op[int]:
    """ZCARD. O(1)."""
    opened = yield from open_collection(records, key, SORTED_SET)
    return 0 if opened is None else opened.root.size


@reads_keys_at(0)
def scores_of(records: Records, key: bytes, members: Sequence[bytes]) -> Op[list[float | None]]:
    """ZMSCORE. The scores in the order of the members; None for missing members."""
    opened = yield from open_collection(records, key, SORTED_SET)
    found: list[float | None] = []
    for member in members:
        data = None if opened is None else (yield from records.read(opened.prefix + BY_MEMBER + member))
        found.append(None if data is None else score_of(data))
    return found


@reads_keys_at(0)
def score(records: Records, key: bytes, member: bytes) -> Op[float | None]:
    """ZSCORE."""
    return (yield from scores_of(records, key, (member,)))[0]


@reads_keys_at(0)
def rank(
    records: Records, key: bytes, member: bytes, reverse: bool, with_score: bool
) -> Op[int | list[int | float] | None]:
    """ZRANK and ZREVRANK. The position, or [position, score], or None. O(position)."""
    opened = yield from open_collection(records, key, SORTED_SET)
    data = None if opened is None else (yield from records.read(opened.prefix + BY_MEMBER + member))
    if opened is None or data is None:
        return None
    own = opened.prefix + BY_SCORE + data + member
    low, high = (own + b"\0", opened.prefix + b"t") if reverse else (opened.prefix + BY_SCORE, own)
    before = len((yield from read_range(records, low, high, len(opened.prefix))))
    return [before, score_of(data)] if with_score else before


def span_of(records: Records, key: bytes, span: Span) -> Op[Scored]:
    """ZRANGE and its variants. (member, score) pairs in the requested order."""
    opened = yield from open_collection(records, key, SORTED_SET)
    return [] if opened is None else (yield from span.read(records, opened))


@reads_keys_at(0)
def members_in(records: Records, key: bytes, span: Span) -> Op[list[bytes]]:
    """As `span_of`, members only."""
    return [member for member, _ in (yield from span_of(records, key, span))]


@reads_keys_at(0)
def scored_in(records: Records, key: bytes, span: Span, cast: Callable[[float], Any]) -> Op[list[tuple[bytes, Any]]]:
    """As `span_of`, with `cast` applied to each score."""
    pairs = yield from span_of(records, key, span)
    return pairs if cast is float else [(member, cast(number)) for member, number in pairs]


@reads_keys_at(0)
def count(records: Records, key: bytes, span: Span) -> Op[int]:
    """ZCOUNT and ZLEXCOUNT. O(members counted)."""
    return len((yield from span_of(records, key, span)))


def remove_span(tx: Transaction, key: bytes, span: Span) -> int:
    """ZREMRANGEBYRANK, ZREMRANGEBYSCORE, ZREMRANGEBYLEX. Returns how many were removed."""
    found = find_collection(tx, key, SORTED_SET)
    if found is None:
        return 0
    pairs: Scored = tx.complete(span_of(tx, key, span))
    return _drop(found, [(member, encode_score(number)) for member, number in pairs])


def store_span(tx: Transaction, target: bytes, source: bytes, span: Span) -> int:
    """ZRANGESTORE. Returns the size of `target`; an empty result deletes it."""
    return _store(tx, target, tx.complete(span_of(tx, source, span)))


def _store(tx: Transaction, target: bytes, pairs: Scored) -> int:
    if not pairs:
        tx.delete(target)
        return 0
    made = make_collection(tx, target, SORTED_SET)
    for member, number in pairs:
        _place(made, member, None, number)
    made.save()
    return made.size


@reads_keys_at(0)
def random_members(
    records: Records, key: bytes, number: int | None, with_scores: bool
) -> Op[bytes | list[bytes] | list[bytes | float] | None]:
    """ZRANDMEMBER. A random member or None; with a count, a list as by HRANDFIELD. O(n)."""
    opened = yield from open_collection(records, key, SORTED_SET)
    if opened is None:
        return None if number is None else []
    skip = len(opened.prefix) + 1
    pairs = yield from read_range(records, opened.prefix + BY_MEMBER, opened.prefix + b"n", skip)
    if len(pairs) != opened.root.size:
        raise CorruptionError(f"a sorted set has missing members: expected={opened.root.size} found={len(pairs)}")
    if number is None:
        return random.choice(pairs)[0]
    chosen = choose(pairs, number)
    if not with_scores:
        return [member for member, _ in chosen]
    return [part for member, data in chosen for part in (member, score_of(data))]


def _weighed(records: Records, key: bytes, weight: float) -> Op[dict[bytes, float]]:
    """Return members with their scores times a weight. The members of a plain set have score 1."""
    found = yield from records.find(key)
    if found is None:
        return {}
    try:
        check_root(found, SORTED_SET)
    except ResponseError:
        try:
            return dict.fromkeys((yield from members_of(records, key)), weight)
        except ResponseError:
            raise ResponseError(WRONG_TYPE) from None
    pairs = yield from span_of(records, key, Span.everything())
    return {member: _number(number * weight) for member, number in pairs}


def _number(value: float) -> float:
    """As in Redis, NaN counts as zero when scores are combined."""
    return 0.0 if math.isnan(value) else value


def _aggregate(how: Aggregate, old: float, new: float) -> float:
    return _number(old + new) if how == "SUM" else min(old, new) if how == "MIN" else max(old, new)


def combine(records: Records, how: Algebra, weights: Sequence[tuple[bytes, float]], aggregate: Aggregate) -> Op[Scored]:
    """ZINTER, ZUNION, ZDIFF over keys with weights. (member, score) pairs, sorted by score."""
    result: dict[bytes, float] = {}
    for i, (key, weight) in enumerate(weights):
        members = yield from _weighed(records, key, weight)
        if i == 0:
            result = members
        elif how == "diff":
            result = {member: number for member, number in result.items() if member not in members}
        elif how == "inter":
            result = {m: _aggregate(aggregate, n, members[m]) for m, n in result.items() if m in members}
        else:
            for member, number in members.items():
                result[member] = _aggregate(aggregate, result[member], number) if member in result else number
    return sorted(result.items(), key=lambda pair: (pair[1], pair[0]))


def combined_members(
    records: Records, how: Algebra, weights: Sequence[tuple[bytes, float]], aggregate: Aggregate
) -> Op[list[bytes]]:
    """As `combine`, members only."""
    return [member for member, _ in (yield from combine(records, how, weights, aggregate))]


def combined_scores(
    records: Records,
    how: Algebra,
    weights: Sequence[tuple[bytes, float]],
    aggregate: Aggregate,
    cast: Callable[[float], Any],
) -> Op[list[tuple[bytes, Any]]]:
    """As `combine`, with `cast` applied to each score."""
    return [(member, cast(number)) for member, number in (yield from combine(records, how, weights, aggregate))]


@reads_keys_at(0)
def count_common(records: Records, keys: Sequence[bytes], limit: int) -> Op[int]:
    """ZINTERCARD. How many members all share, counting up to `limit` (0: no limit)."""
    size = len((yield from combine(records, "inter", [(key, 1.0) for key in keys], "SUM")))
    if limit < 0:
        raise ResponseError("LIMIT can't be negative")
    return min(size, limit) if limit else size


def store(
    tx: Transaction, target: bytes, how: Algebra, weights: Sequence[tuple[bytes, float]], aggregate: Aggregate
) -> int:
    """ZINTERSTORE, ZUNIONSTORE, ZDIFFSTORE. Returns `target`'s size; an empty result deletes it."""
    return _store(tx, target, tx.complete(combine(tx, how, weights, aggregate)))


def all_scores(records: Records, key: bytes) -> Op[Scored]:
    """Every member with its score, sorted by member."""
    return (yield from span_of(records, key, Span.by_member(b"-", b"+")))
