"""A bounded cache in two generations: no lock, no list to keep in order, one dict look-up for a hit.

When the young generation is half of the bound it becomes the old one, and the old one is dropped; a hit in the old
generation is copied into the young one. Every step is one dict operation, so threads can at worst forget something.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class GenerationalCache(Generic[K, V]):
    """Keeps about `bytes_max` of values, measured by `size_of`. Any thread."""

    __slots__ = ("_half", "_old", "_size_of", "_young", "_young_bytes", "generations")

    def __init__(self, bytes_max: int, size_of: Callable[[V], int]) -> None:
        self._half = bytes_max // 2
        self._size_of = size_of
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}
        self._young_bytes = 0
        # Keys of each young generation that became the old one, once somebody wants to know what is used (accesses.py).
        self.generations: deque[list[K]] | None = None

    def __contains__(self, key: K) -> bool:
        """True if the value is here. Does not count as a use."""
        return key in self._young or key in self._old

    def get(self, key: K) -> V | None:
        """The value, or None. O(1)."""
        value = self._young.get(key)
        if value is None:
            value = self._old.get(key)
            if value is not None:
                self.put(key, value)
        return value

    def put(self, key: K, value: V) -> None:
        """Remember the value, unless it alone is larger than the half of the bound."""
        size = self._size_of(value)
        if size > self._half:
            return
        self._young[key] = value
        self._young_bytes += size
        if self._young_bytes > self._half:
            if self.generations is not None:
                self.generations.append(list(self._young))
            self._old, self._young, self._young_bytes = self._young, {}, 0

    def discard(self, key: K) -> None:
        """Forget a value, which may not be there."""
        self._young.pop(key, None)
        self._old.pop(key, None)

    def resize(self, bytes_max: int) -> None:
        """Keep about so much from now on."""
        self._half = bytes_max // 2

    def without(self, keys: Iterable[K]) -> GenerationalCache[K, V]:
        """A copy that has none of `keys`; the original stays as it is."""
        copy = GenerationalCache[K, V](self._half * 2, self._size_of)
        # One C call each: other threads may be inserting.
        copy._young, copy._old, copy._young_bytes = self._young.copy(), self._old.copy(), self._young_bytes
        copy.generations = self.generations
        for key in keys:
            copy._young.pop(key, None)
            copy._old.pop(key, None)
        return copy
