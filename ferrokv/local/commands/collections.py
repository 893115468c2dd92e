"""What lists, hashes, sets and sorted sets share: finding the root, and changing elements and root together.

The layout of roots and elements is in docs/format.md section 4.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from ...errors import CorruptionError, ResponseError
from ..format.keys import element_prefix, owner_key, successor_of_prefix
from ..format.roots import FIRST_INDEX, LIST, Root, RootFields, decode_root
from ..log.transaction import Transaction
from ..storage.requests import Op
from ..tree.records import Found, Records, read_scan
from ..tree.scan import Pairs

WRONG_TYPE: Final = "WRONGTYPE Operation against a key holding the wrong kind of value"
PAGE_ELEMENTS: Final = 512


class Opened(NamedTuple):
    """A collection to be read: its root, and what the internal keys of its elements begin with."""

    root: RootFields
    prefix: bytes


def check_string(found: Found | None) -> Found | None:
    """What was found, if it is no collection. `ResponseError` if it is."""
    if found is not None and found[0].__class__ is Root:
        raise ResponseError(WRONG_TYPE)
    return found


def check_root(found: Found, collection_type: bytes) -> RootFields:
    """The root that was found. `ResponseError` for a string, or a collection of another type."""
    value = found[0]
    if value.__class__ is not Root:
        raise ResponseError(WRONG_TYPE)
    root = decode_root(value)
    if root.type != collection_type:
        raise ResponseError(WRONG_TYPE)
    return root


def open_collection(records: Records, key: bytes, collection_type: bytes) -> Op[Opened | None]:
    """The collection of a key, or None. `ResponseError` when the key holds something else."""
    found = yield from records.find(key)
    if found is None:
        return None
    root = check_root(found, collection_type)
    assert records.prefix is not None
    return Opened(root, element_prefix(records.prefix, root.generation))


def read_range(
    records: Records,
    low: bytes,
    high: bytes | None,
    skip: int,
    *,
    reverse: bool = False,
    limit: int | None = None,
) -> Op[Pairs]:
    """Up to `limit` elements of internal keys [low, high): (key without its first `skip` bytes, value), in scan order."""
    return read_scan(records.scan(low, high, reverse=reverse), skip, limit)


def read_all(records: Records, opened: Opened) -> Op[Pairs]:
    """All elements: (key without the prefix, value), in key order."""
    return records.read_parts(opened.prefix, opened.root.size)


def read_whole(records: Records, key: bytes, collection_type: bytes) -> Op[Pairs]:
    """All elements of a hash or set, none if there is no such key. `CorruptionError` if the root counts others."""
    opened = yield from open_collection(records, key, collection_type)
    if opened is None:
        return []
    pairs = yield from read_all(records, opened)
    if len(pairs) != opened.root.size:
        raise CorruptionError(f"a collection lacks elements: expected={opened.root.size} found={len(pairs)}")
    return pairs


def page_of(records: Records, key: bytes, collection_type: bytes, index: bytes, after: bytes | None) -> Op[Pairs]:
    """The next elements of an index of a collection, from its beginning or behind `after`; none at the end."""
    opened = yield from open_collection(records, key, collection_type)
    if opened is None:
        return []
    prefix = opened.prefix + index
    low = prefix if after is None else prefix + after + b"\0"
    high = successor_of_prefix(prefix)
    return (yield from read_range(records, low, high, len(prefix), limit=PAGE_ELEMENTS))


class Collection:
    """A collection that a transaction changes. Nothing is final before `save`, which every change has to end with."""

    __slots__ = ("_generation", "_key", "_tx", "_type", "_version", "expires_ms", "head", "prefix", "size")

    def __init__(self, tx: Transaction, key: bytes, root: RootFields, expires_ms: int) -> None:
        self._tx = tx
        self._key = key
        self._type, self._generation, self._version, self.size, self.head = root
        self.expires_ms = expires_ms
        self.prefix = element_prefix(tx.make_prefix(), self._generation)

    def get(self, element: bytes) -> bytes | None:
        """The value of an element."""
        return self._tx.element(self.prefix + element)

    def put(self, element: bytes, value: bytes) -> None:
        """Write an element."""
        self._tx.put_element(self.prefix + element, value)

    def drop(self, element: bytes) -> None:
        """Write the tombstone of an element that is there."""
        self._tx.put_element(self.prefix + element, None)

    def remove(self, elements: Iterable[bytes]) -> int:
        """How many of the elements there were; they are gone, and the root is written."""
        there = [element for element in dict.fromkeys(elements) if self.get(element) is not None]
        if there:
            self.size -= len(there)
            for element in there:
                self.drop(element)
            self.save()
        return len(there)

    def range(
        self, low: bytes = b"", high: bytes | None = None, *, reverse: bool = False, limit: int | None = None
    ) -> Pairs:
        """(element, value) of elements in [low, high)."""
        prefix = self.prefix
        end = successor_of_prefix(prefix) if high is None else prefix + high
        pairs: Pairs = self._tx.complete(
            read_range(self._tx, prefix + low, end, len(prefix), reverse=reverse, limit=limit)
        )
        return pairs

    def renew(self, values: Sequence[bytes]) -> None:
        """Make the list one of these elements, under a new generation; the old one is dead."""
        new = make_collection(self._tx, self._key, self._type, self.expires_ms)
        for i, value in enumerate(values):
            new.put((new.head + i).to_bytes(8, "big"), value)
        new.size = len(values)
        new.save()

    def save(self) -> None:
        """Write the root, or its tombstone if nothing is left. The elements that are left then are dead."""
        if self.size < 0:
            raise CorruptionError("a collection has more elements than its root counts")
        if self.size:
            root = RootFields(self._type, self._generation, self._version + 1, self.size, self.head)
            self._tx.put(self._key, root.encode(), self.expires_ms)
        else:
            self._tx.delete(self._key)


def find_collection(tx: Transaction, key: bytes, collection_type: bytes) -> Collection | None:
    """The collection of a key, or None. `ResponseError` when the key holds something else."""
    found = tx.get(key)
    return None if found is None else Collection(tx, key, check_root(found, collection_type), found[1])


def make_collection(tx: Transaction, key: bytes, collection_type: bytes, expires_ms: int = 0) -> Collection:
    """A new, empty one at a key, whatever that held."""
    generation = tx.new_generation()
    tx.put_element(owner_key(tx.make_prefix(), generation), key)
    head = FIRST_INDEX if collection_type == LIST else 0
    return Collection(tx, key, RootFields(collection_type, generation, 0, 0, head), expires_ms)


def find_or_make(tx: Transaction, key: bytes, collection_type: bytes) -> Collection:
    """The collection of a key, new if there is none."""
    return find_collection(tx, key, collection_type) or make_collection(tx, key, collection_type)


def touched(value: bytes) -> bytes:
    """What to write when a key changes but not what it holds: for a root its next version, so that who watches it learns of it."""
    if value.__class__ is not Root:
        return value
    root = decode_root(value)
    return root._replace(version=root.version + 1).encode()


def move_root(tx: Transaction, value: bytes, target: bytes) -> None:
    """Before a root is written to another key: make that its owner."""
    if value.__class__ is Root:
        tx.put_element(owner_key(tx.make_prefix(), decode_root(value).generation), target)


def copy_collection(tx: Transaction, found: Found, target: bytes) -> None:
    """Write a collection to another key, element by element."""
    root = decode_root(found[0])
    old = Opened(root, element_prefix(tx.make_prefix(), root.generation))
    new = make_collection(tx, target, root.type, found[1])
    for element, value in tx.complete(read_all(tx, old)):
        new.put(element, value)
    new.size, new.head = root.size, root.head
    new.save()
