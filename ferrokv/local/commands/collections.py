"""What lists, hashes, sets and sorted sets share: roots, and changing elements with their root.

docs/format.md section 4 has the layout. A collection is a root record under its user key, and one
record per element under a prefix made of the root's generation. Every change to an element also
writes the root, in the same transaction. Deleting or replacing the root makes the elements of its
generation dead; compaction drops them later, so deleting a collection is O(1).
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
from .touched import reads_keys_at

WRONG_TYPE: Final = "WRONGTYPE Operation against a key holding the wrong kind of value"
PAGE_ELEMENTS: Final = 512


class OpenCollection(NamedTuple):
    """A collection to read: its root, and the prefix of its elements' internal keys."""

    root: RootFields
    prefix: bytes


def check_string(found: Found | None) -> Found | None:
    """Return what was found, unless it is a collection: `ResponseError`."""
    if found is not None and found[0].__class__ is Root:
        raise ResponseError(WRONG_TYPE)
    return found


def check_root(found: Found, collection_type: bytes) -> RootFields:
    """Return the root. `ResponseError` for a string, or for a collection of another type."""
    value = found[0]
    if value.__class__ is not Root:
        raise ResponseError(WRONG_TYPE)
    root = decode_root(value)
    if root.type != collection_type:
        raise ResponseError(WRONG_TYPE)
    return root


def open_collection(records: Records, key: bytes, collection_type: bytes) -> Op[OpenCollection | None]:
    """Return the collection of a key, or None. `ResponseError` if the key holds anything else."""
    found = yield from records.find(key)
    if found is None:
        return None
    root = check_root(found, collection_type)
    assert records.prefix is not None
    return OpenCollection(root, element_prefix(records.prefix, root.generation))


def read_range(
    records: Records,
    low: bytes,
    high: bytes | None,
    skip: int,
    *,
    reverse: bool = False,
    limit: int | None = None,
) -> Op[Pairs]:
    """Read up to `limit` elements with internal keys in [low, high), in scan order.

    Returns (key without its first `skip` bytes, value) pairs.
    """
    return read_scan(records.scan(low, high, reverse=reverse), skip, limit)


def read_all(records: Records, opened: OpenCollection) -> Op[Pairs]:
    """Return all elements in key order, as (key without the prefix, value) pairs."""
    return records.read_parts(opened.prefix, opened.root.size)


def read_whole(records: Records, key: bytes, collection_type: bytes) -> Op[Pairs]:
    """Return all elements of a hash or set; none if there is no such key.

    `CorruptionError` if their number differs from the root's.
    """
    opened = yield from open_collection(records, key, collection_type)
    if opened is None:
        return []
    pairs = yield from read_all(records, opened)
    if len(pairs) != opened.root.size:
        raise CorruptionError(f"a collection has missing elements: expected={opened.root.size} found={len(pairs)}")
    return pairs


@reads_keys_at(0)
def page_of(records: Records, key: bytes, collection_type: bytes, index: bytes, after: bytes | None) -> Op[Pairs]:
    """Return the next elements of a collection's index, from `after` on; none at the end."""
    opened = yield from open_collection(records, key, collection_type)
    if opened is None:
        return []
    prefix = opened.prefix + index
    low = prefix if after is None else prefix + after + b"\0"
    high = successor_of_prefix(prefix)
    return (yield from read_range(records, low, high, len(prefix), limit=PAGE_ELEMENTS))


class Collection:
    """A collection being changed by a transaction. Every change has to end with `save`."""

    __slots__ = ("_generation", "_key", "_tx", "_type", "_version", "expires_ms", "head", "prefix", "size")

    def __init__(self, tx: Transaction, key: bytes, root: RootFields, expires_ms: int) -> None:
        self._tx = tx
        self._key = key
        self._type, self._generation, self._version, self.size, self.head = root
        self.expires_ms = expires_ms
        self.prefix = element_prefix(tx.make_prefix(), self._generation)

    def get(self, element: bytes) -> bytes | None:
        """Return the value of an element, or None."""
        return self._tx.element(self.prefix + element)

    def put(self, element: bytes, value: bytes) -> None:
        """Write an element."""
        self._tx.put_element(self.prefix + element, value)

    def drop(self, element: bytes) -> None:
        """Write the tombstone of an existing element."""
        self._tx.put_element(self.prefix + element, None)

    def remove(self, elements: Iterable[bytes]) -> int:
        """Remove elements, write the root, and return how many of them existed."""
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
        """Return (element, value) for the elements in [low, high)."""
        prefix = self.prefix
        end = successor_of_prefix(prefix) if high is None else prefix + high
        pairs: Pairs = self._tx.complete(
            read_range(self._tx, prefix + low, end, len(prefix), reverse=reverse, limit=limit)
        )
        return pairs

    def renew(self, values: Sequence[bytes]) -> None:
        """Replace the list by these elements, under a new generation; the old one becomes dead."""
        new = make_collection(self._tx, self._key, self._type, self.expires_ms)
        for i, value in enumerate(values):
            new.put((new.head + i).to_bytes(8, "big"), value)
        new.size = len(values)
        new.save()

    def save(self) -> None:
        """Write the root, or its tombstone if empty; elements left over are then dead."""
        if self.size < 0:
            raise CorruptionError("a collection has more elements than its root counts")
        if self.size:
            root = RootFields(self._type, self._generation, self._version + 1, self.size, self.head)
            self._tx.put(self._key, root.encode(), self.expires_ms)
        else:
            self._tx.delete(self._key)


def find_collection(tx: Transaction, key: bytes, collection_type: bytes) -> Collection | None:
    """Return the collection of a key, or None. `ResponseError` if the key holds anything else."""
    found = tx.get(key)
    return None if found is None else Collection(tx, key, check_root(found, collection_type), found[1])


def make_collection(tx: Transaction, key: bytes, collection_type: bytes, expires_ms: int = 0) -> Collection:
    """Create an empty collection at a key, whatever the key held."""
    generation = tx.new_generation()
    tx.put_element(owner_key(tx.make_prefix(), generation), key)
    head = FIRST_INDEX if collection_type == LIST else 0
    return Collection(tx, key, RootFields(collection_type, generation, 0, 0, head), expires_ms)


def find_or_make(tx: Transaction, key: bytes, collection_type: bytes) -> Collection:
    """Return the collection of a key; create it if there is none."""
    return find_collection(tx, key, collection_type) or make_collection(tx, key, collection_type)


def touched(value: bytes) -> bytes:
    """Return what to write when a key changes but its contents do not.

    The root of a collection gets its next version, so that WATCH notices.
    """
    if value.__class__ is not Root:
        return value
    root = decode_root(value)
    return root._replace(version=root.version + 1).encode()


def move_root(tx: Transaction, value: bytes, target: bytes) -> None:
    """Before writing a root to another key, make that key its owner."""
    if value.__class__ is Root:
        tx.put_element(owner_key(tx.make_prefix(), decode_root(value).generation), target)


def copy_collection(tx: Transaction, found: Found, target: bytes) -> None:
    """Copy a collection to another key, element by element."""
    root = decode_root(found[0])
    old = OpenCollection(root, element_prefix(tx.make_prefix(), root.generation))
    new = make_collection(tx, target, root.type, found[1])
    for element, value in tx.complete(read_all(tx, old)):
        new.put(element, value)
    new.size, new.head = root.size, root.head
    new.save()
