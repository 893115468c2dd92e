"""Lists: elements at consecutive indices, so both ends are reached in O(1), whatever the length."""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import CorruptionError, ResponseError
from ..format.roots import LIST
from ..log.transaction import Transaction
from ..storage.requests import Op
from ..tree.records import Records
from .collections import Collection, OpenCollection, find_collection, find_or_make, open_collection, read_range
from .touched import reads_keys_at


def _index(position: int) -> bytes:
    return position.to_bytes(8, "big")


def _bounds(start: int, end: int, size: int) -> tuple[int, int]:
    """Convert Redis's inclusive range to positions [first, last)."""
    first = max(start + size if start < 0 else start, 0)
    last = min(end + size if end < 0 else end, size - 1) + 1
    return first, max(first, last)


def _read_values(records: Records, opened: OpenCollection, first: int, last: int) -> Op[list[bytes]]:
    """Return the elements at positions [first, last)."""
    prefix, head = opened.prefix, opened.root.head
    if last == first:
        return []
    if last - first == 1:
        value = yield from records.read(prefix + _index(head + first))
        return _checked([] if value is None else [value], 1)
    pairs = yield from read_range(records, prefix + _index(head + first), prefix + _index(head + last), len(prefix))
    return _checked([value for _, value in pairs], last - first)


def _values(found: Collection, first: int, last: int) -> list[bytes]:
    """Return the elements at positions [first, last) of a list being changed."""
    if last - first == 1:
        value = found.get(_index(found.head + first))
        return _checked([] if value is None else [value], 1)
    pairs = found.range(_index(found.head + first), _index(found.head + last))
    return _checked([value for _, value in pairs], last - first)


def _checked(values: list[bytes], expected: int) -> list[bytes]:
    if len(values) != expected:
        raise CorruptionError(f"a list has missing elements: expected={expected} found={len(values)}")
    return values


def push(tx: Transaction, key: bytes, values: Sequence[bytes], left: bool, only_existing: bool) -> int:
    """LPUSH, RPUSH, LPUSHX, RPUSHX. Returns the length. O(1) for each value."""
    found = find_collection(tx, key, LIST) if only_existing else find_or_make(tx, key, LIST)
    if found is None:
        return 0
    if left:
        for value in values:
            found.head -= 1
            found.put(_index(found.head), value)
    else:
        end = found.head + found.size
        for i, value in enumerate(values):
            found.put(_index(end + i), value)
    found.size += len(values)
    found.save()
    return found.size


def pop_one(tx: Transaction, key: bytes, left: bool) -> bytes | None:
    """LPOP and RPOP. Returns the element, or None if there is no such list. O(1)."""
    found = find_collection(tx, key, LIST)
    return None if found is None else _take(found, 1, left)[0]


def pop_many(tx: Transaction, key: bytes, count: int, left: bool) -> list[bytes] | None:
    """LPOP and RPOP with a count.

    Returns up to `count` elements, or None if there is no such list.
    """
    if count < 0:
        raise ResponseError("value is out of range, must be positive")
    found = find_collection(tx, key, LIST)
    if found is None:
        return None
    return _take(found, min(count, found.size), left) if count else []


def _take(found: Collection, count: int, left: bool) -> list[bytes]:
    first = 0 if left else found.size - count
    values = _values(found, first, first + count)
    _resize(found, count if left else 0, found.size if left else found.size - count)
    return values if left else values[::-1]


def pop_first(tx: Transaction, keys: Sequence[bytes], left: bool) -> tuple[bytes, bytes] | None:
    """BLPOP and BRPOP without waiting: (key, element) of the first list that has one."""
    for key in keys:
        value = pop_one(tx, key, left)
        if value is not None:
            return key, value
    return None


def move(tx: Transaction, source: bytes, target: bytes, from_left: bool, to_left: bool) -> bytes | None:
    """LMOVE. Returns the element moved, or None if there is no `source`."""
    if find_collection(tx, source, LIST) is None:
        return None
    find_collection(tx, target, LIST)  # refuse another type before writing anything
    value = pop_one(tx, source, from_left)
    if value is None:
        raise CorruptionError("a list has fewer elements than its root counts")
    push(tx, target, (value,), to_left, False)
    return value


def set_at(tx: Transaction, key: bytes, index: int, value: bytes) -> bool:
    """LSET. Returns True."""
    found = find_collection(tx, key, LIST)
    if found is None:
        raise ResponseError("no such key")
    position = index + found.size if index < 0 else index
    if not 0 <= position < found.size:
        raise ResponseError("index out of range")
    found.put(_index(found.head + position), value)
    found.save()
    return True


def insert(tx: Transaction, key: bytes, before: bool, pivot: bytes, value: bytes) -> int:
    """LINSERT. Returns the length; -1 if there is no such element, 0 if there is no such list.

    O(n).
    """
    found = find_collection(tx, key, LIST)
    if found is None:
        return 0
    values = _values(found, 0, found.size)
    if pivot not in values:
        return -1
    at = values.index(pivot) + (not before)
    if at < found.size // 2:  # the shorter side moves
        found.head -= 1
        for i, moved in enumerate(values[:at]):
            found.put(_index(found.head + i), moved)
    else:
        for i, moved in enumerate(values[at:]):
            found.put(_index(found.head + at + 1 + i), moved)
    found.put(_index(found.head + at), value)
    found.size += 1
    found.save()
    return found.size


def remove(tx: Transaction, key: bytes, count: int, value: bytes) -> int:
    """LREM. Returns how many were removed. O(n).

    A positive `count` removes the first `count`, a negative one the last -`count`, and 0 all of
    them.
    """
    found = find_collection(tx, key, LIST)
    if found is None:
        return 0
    old = _values(found, 0, found.size)
    at = [i for i, element in enumerate(old) if element == value]
    doomed = set(at if not count else at[:count] if count > 0 else at[count:])
    if doomed:
        new = [element for i, element in enumerate(old) if i not in doomed]
        for i, element in enumerate(new):
            if element != old[i]:
                found.put(_index(found.head + i), element)
        _resize(found, 0, len(new))
    return len(doomed)


def trim(tx: Transaction, key: bytes, start: int, end: int) -> bool:
    """LTRIM. Returns True. O(elements removed)."""
    found = find_collection(tx, key, LIST)
    if found is not None:
        first, last = _bounds(start, end, found.size)
        _resize(found, first, last)
    return True


def _resize(found: Collection, first: int, last: int) -> None:
    """Keep the positions [first, last).

    O(elements removed), or O(elements kept) if they are fewer.
    """
    if 0 < last - first < (found.size - (last - first)) // 2:
        found.renew(_values(found, first, last))
        return
    if last > first:
        for i in (*range(first), *range(last, found.size)):
            found.drop(_index(found.head + i))
    found.head += first
    found.size = last - first
    found.save()


@reads_keys_at(0)
def length(records: Records, key: bytes) -> Op[int]:
    """LLEN."""
    opened = yield from open_collection(records, key, LIST)
    return 0 if opened is None else opened.root.size


@reads_keys_at(0)
def element_at(records: Records, key: bytes, index: int) -> Op[bytes | None]:
    """LINDEX. The element, or None. O(1)."""
    opened = yield from open_collection(records, key, LIST)
    if opened is None:
        return None
    position = index + opened.root.size if index < 0 else index
    if not 0 <= position < opened.root.size:
        return None
    return (yield from _read_values(records, opened, position, position + 1))[0]


@reads_keys_at(0)
def slice_of(records: Records, key: bytes, start: int, end: int) -> Op[list[bytes]]:
    """LRANGE. The elements from `start` to `end`, both included.

    Negative positions count from the end.
    """
    opened = yield from open_collection(records, key, LIST)
    if opened is None:
        return []
    return (yield from _read_values(records, opened, *_bounds(start, end, opened.root.size)))


@reads_keys_at(0)
def positions(
    records: Records, key: bytes, value: bytes, rank: int, count: int | None, maxlen: int
) -> Op[int | list[int] | None]:
    """LPOS. The position of the first match; with `count`, a list of at most that many (0: all).

    O(n).
    """
    if rank == 0:
        raise ResponseError(
            "RANK can't be zero: use 1 to start from the first match, 2 from the second ... "
            "or use negative to start from the end of the list"
        )
    if count is not None and count < 0:
        raise ResponseError("COUNT can't be negative")
    if maxlen < 0:
        raise ResponseError("MAXLEN can't be negative")
    opened = yield from open_collection(records, key, LIST)
    if opened is None:
        return None if count is None else []
    size = opened.root.size
    values = yield from _read_values(records, opened, 0, size)
    order = range(size) if rank > 0 else range(size - 1, -1, -1)
    matches = [i for i in order[: maxlen or size] if values[i] == value][abs(rank) - 1 :]
    if count is None:
        return matches[0] if matches else None
    return matches[: count or size]
