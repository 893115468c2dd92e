"""Sets: one element without a value per member, sorted by the member's bytes."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import Literal

from ...errors import ResponseError
from ..format.roots import SET
from ..log.transaction import Transaction
from ..storage.requests import Op
from ..tree.records import Records
from .collections import find_collection, find_or_make, make_collection, open_collection, read_whole
from .hashes import choose
from .touched import reads_keys_at

Algebra = Literal["inter", "union", "diff"]


def add(tx: Transaction, key: bytes, members: Iterable[bytes]) -> int:
    """SADD. Returns how many members are new."""
    found = find_or_make(tx, key, SET)
    size = found.size
    for member in members:
        if found.get(member) is None:
            found.put(member, b"")
            found.size += 1
    if found.size != size:
        found.save()
    return found.size - size


def remove(tx: Transaction, key: bytes, members: Iterable[bytes]) -> int:
    """SREM. Returns how many of the members existed."""
    found = find_collection(tx, key, SET)
    return 0 if found is None else found.remove(members)


def move(tx: Transaction, source: bytes, target: bytes, member: bytes) -> bool:
    """SMOVE. Returns True if the member was in `source`."""
    found = find_collection(tx, source, SET)
    if found is None:
        return False
    find_collection(tx, target, SET)  # refuse another type before writing anything
    if found.get(member) is None:
        return False
    if source != target:
        remove(tx, source, (member,))
        add(tx, target, (member,))
    return True


def pop_one(tx: Transaction, key: bytes) -> bytes | None:
    """SPOP. Removes and returns a random member, or None. O(n)."""
    popped = _pop(tx, key, 1)
    return popped[0] if popped else None


def pop_many(tx: Transaction, key: bytes, count: int) -> list[bytes]:
    """SPOP with a count. Removes and returns up to `count` random members. O(n)."""
    if count < 0:
        raise ResponseError("value is out of range, must be positive")
    return _pop(tx, key, count)


def _pop(tx: Transaction, key: bytes, count: int) -> list[bytes]:
    members = [member for member, _ in tx.complete(read_whole(tx, key, SET))]
    popped = random.sample(members, min(count, len(members)))
    remove(tx, key, popped)
    return popped


def store(tx: Transaction, target: bytes, how: Algebra, keys: Sequence[bytes]) -> int:
    """SINTERSTORE, SUNIONSTORE, SDIFFSTORE. Returns `target`'s size; an empty result deletes it."""
    members: set[bytes] = tx.complete(combine(tx, how, keys))
    if not members:
        tx.delete(target)
        return 0
    made = make_collection(tx, target, SET)
    for member in members:
        made.put(member, b"")
    made.size = len(members)
    made.save()
    return made.size


@reads_keys_at(0)
def members_of(records: Records, key: bytes) -> Op[set[bytes]]:
    """SMEMBERS."""
    return {member for member, _ in (yield from read_whole(records, key, SET))}


@reads_keys_at(0)
def has_member(records: Records, key: bytes, member: bytes) -> Op[int]:
    """SISMEMBER. 1 or 0."""
    return (yield from have_members(records, key, (member,)))[0]


@reads_keys_at(0)
def have_members(records: Records, key: bytes, members: Sequence[bytes]) -> Op[list[int]]:
    """SMISMEMBER. 1 or 0 for each member."""
    opened = yield from open_collection(records, key, SET)
    if opened is None:
        return [0] * len(members)
    found = []
    for member in members:
        found.append(int((yield from records.read(opened.prefix + member)) is not None))
    return found


@reads_keys_at(0)
def length(records: Records, key: bytes) -> Op[int]:
    """SCARD. O(1)."""
    opened = yield from open_collection(records, key, SET)
    return 0 if opened is None else opened.root.size


@reads_keys_at(1)
def combine(records: Records, how: Algebra, keys: Sequence[bytes]) -> Op[set[bytes]]:
    """SINTER, SUNION, SDIFF. A missing key counts as an empty set."""
    sets = []
    for key in keys:
        sets.append((yield from members_of(records, key)))
    if how == "inter":
        return sets[0].intersection(*sets[1:])
    return sets[0].union(*sets[1:]) if how == "union" else sets[0].difference(*sets[1:])


@reads_keys_at(0)
def count_common(records: Records, keys: Sequence[bytes], limit: int) -> Op[int]:
    """SINTERCARD. How many members all sets share, counting up to `limit` (0: no limit)."""
    if limit < 0:
        raise ResponseError("LIMIT can't be negative")
    size = len((yield from combine(records, "inter", keys)))
    return min(size, limit) if limit else size


@reads_keys_at(0)
def random_member(records: Records, key: bytes) -> Op[bytes | None]:
    """SRANDMEMBER. A random member, or None. O(n)."""
    pairs = yield from read_whole(records, key, SET)
    return random.choice(pairs)[0] if pairs else None


@reads_keys_at(0)
def random_members(records: Records, key: bytes, count: int) -> Op[list[bytes]]:
    """SRANDMEMBER with a count, as by `choose`. O(n)."""
    return [member for member, _ in choose((yield from read_whole(records, key, SET)), count)]
