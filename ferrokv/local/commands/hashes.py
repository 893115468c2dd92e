"""Hashes: one element per field, sorted by the field's bytes."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from ...contract.encoding import INT64_MAX, INT64_MIN
from ...errors import ResponseError
from ..format.roots import HASH
from ..log.transaction import Transaction
from ..storage.requests import Op
from ..tree.records import Records
from ..tree.scan import Pairs
from .collections import find_collection, find_or_make, open_collection, read_whole
from .counters import decode_integer
from .floats import add_float, check_amount
from .touched import reads_keys_at


def set_fields(tx: Transaction, key: bytes, pairs: Iterable[tuple[bytes, bytes]]) -> int:
    """HSET. Returns how many fields are new."""
    found = find_or_make(tx, key, HASH)
    size = found.size
    for field, value in pairs:
        if found.get(field) is None:
            found.size += 1
        found.put(field, value)
    found.save()
    return found.size - size


def set_field_if_missing(tx: Transaction, key: bytes, field: bytes, value: bytes) -> int:
    """HSETNX. Returns 1 if the field was set, 0 if it existed."""
    found = find_collection(tx, key, HASH)
    if found is not None and found.get(field) is not None:
        return 0
    return set_fields(tx, key, ((field, value),))


def set_mapping(tx: Transaction, key: bytes, pairs: Iterable[tuple[bytes, bytes]]) -> bool:
    """HMSET. Returns True."""
    set_fields(tx, key, pairs)
    return True


def delete_fields(tx: Transaction, key: bytes, fields: Sequence[bytes]) -> int:
    """HDEL. Returns how many of the fields existed."""
    found = find_collection(tx, key, HASH)
    return 0 if found is None else found.remove(fields)


def increment(tx: Transaction, key: bytes, field: bytes, amount: int) -> int:
    """HINCRBY. Returns the new value."""
    found = find_collection(tx, key, HASH)
    old = None if found is None else found.get(field)
    number = 0 if old is None else decode_integer(old)
    if number is None:
        raise ResponseError("hash value is not an integer")
    number += amount
    if not INT64_MIN <= number <= INT64_MAX:
        raise ResponseError("increment or decrement would overflow")
    set_fields(tx, key, ((field, b"%d" % number),))
    return number


def increment_float(tx: Transaction, key: bytes, field: bytes, amount: bytes) -> float:
    """HINCRBYFLOAT. Returns the new value."""
    check_amount(amount)
    found = find_collection(tx, key, HASH)
    old = None if found is None else found.get(field)
    new = add_float(b"0" if old is None else old, amount, "hash value is not a float")
    set_fields(tx, key, ((field, new),))
    return float(new)


@reads_keys_at(0)
def get_field(records: Records, key: bytes, field: bytes) -> Op[bytes | None]:
    """HGET. The value, or None."""
    opened = yield from open_collection(records, key, HASH)
    if opened is None:
        return None
    return (yield from records.read(opened.prefix + field))


@reads_keys_at(0)
def get_fields(records: Records, key: bytes, fields: Sequence[bytes]) -> Op[list[bytes | None]]:
    """HMGET. The values in the order of the fields; None for missing fields."""
    opened = yield from open_collection(records, key, HASH)
    values: list[bytes | None] = []
    for field in fields:
        values.append(None if opened is None else (yield from records.read(opened.prefix + field)))
    return values


@reads_keys_at(0)
def has_field(records: Records, key: bytes, field: bytes) -> Op[bool]:
    """HEXISTS."""
    return (yield from get_field(records, key, field)) is not None


@reads_keys_at(0)
def value_length(records: Records, key: bytes, field: bytes) -> Op[int]:
    """HSTRLEN."""
    return len((yield from get_field(records, key, field)) or b"")


@reads_keys_at(0)
def length(records: Records, key: bytes) -> Op[int]:
    """HLEN. O(1)."""
    opened = yield from open_collection(records, key, HASH)
    return 0 if opened is None else opened.root.size


@reads_keys_at(0)
def get_all(records: Records, key: bytes) -> Op[dict[bytes, bytes]]:
    """HGETALL. Empty if there is no such key."""
    return dict((yield from read_whole(records, key, HASH)))


@reads_keys_at(0)
def fields_of(records: Records, key: bytes) -> Op[list[bytes]]:
    """HKEYS."""
    return [field for field, _ in (yield from read_whole(records, key, HASH))]


@reads_keys_at(0)
def values_of(records: Records, key: bytes) -> Op[list[bytes]]:
    """HVALS."""
    return [value for _, value in (yield from read_whole(records, key, HASH))]


@reads_keys_at(0)
def random_fields(records: Records, key: bytes, count: int | None, with_values: bool) -> Op[bytes | list[bytes] | None]:
    """HRANDFIELD. A random field or None; with `count`, a list as by `choose`. O(n)."""
    pairs = yield from read_whole(records, key, HASH)
    if count is None:
        return random.choice(pairs)[0] if pairs else None
    chosen = choose(pairs, count)
    if with_values:
        return [part for pair in chosen for part in pair]
    return [field for field, _ in chosen]


def choose(pairs: Pairs, count: int) -> Pairs:
    """Choose `count` distinct pairs at random, or all if there are fewer.

    A negative `count` chooses -`count` pairs with repetition.
    """
    if count >= 0:
        return random.sample(pairs, min(count, len(pairs)))
    return random.choices(pairs, k=-count) if pairs else []
