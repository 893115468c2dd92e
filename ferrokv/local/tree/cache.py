"""A bounded cache without a lock and without an LRU list. A hit costs one dict lookup.

The cache has two generations. When the young one has grown to half of the bound, it becomes the old
one, and the previous old one is dropped. A hit in the old generation copies the value to the young
one. Each step is a single dict operation, so the worst that a race between threads can do is lose a
cached value.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class GenerationalCache(Generic[K, V]):
    """Keeps values of about `bytes_max` bytes, as measured by `size_of`. Any thread may use it."""

    __slots__ = ("_half", "_old", "_size_of", "_young", "_young_bytes", "generations")

    def __init__(self, bytes_max: int, size_of: Callable[[V], int]) -> None:
        self._half = bytes_max // 2
        self._size_of = size_of
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}
        self._young_bytes = 0
        # The keys of each young generation that has ended. None unless accesses are counted
        # (accesses.py).
        self.generations: deque[list[K]] | None = None

    def __contains__(self, key: K) -> bool:
        """Return True if the value is cached. Does not count as a use."""
        return key in self._young or key in self._old

    def get(self, key: K) -> V | None:
        """Return the value, or None. O(1)."""
        value = self._young.get(key)
        if value is None:
            value = self._old.get(key)
            if value is not None:
                self.put(key, value)
        return value

    def put(self, key: K, value: V) -> None:
        """Cache a value, unless it alone is larger than half of the bound."""
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
        """Remove a value if it is cached."""
        self._young.pop(key, None)
        self._old.pop(key, None)

    def resize(self, bytes_max: int) -> None:
        """Set a new bound."""
        self._half = bytes_max // 2

    def without(self, keys: Iterable[K]) -> GenerationalCache[K, V]:
        """Return a copy without `keys`. The original does not change."""
        copy = GenerationalCache[K, V](self._half * 2, self._size_of)
        # `dict.copy` is one C call, so other threads may insert meanwhile.
        copy._young, copy._old, copy._young_bytes = self._young.copy(), self._old.copy(), self._young_bytes
        copy.generations = self.generations
        for key in keys:
            copy._young.pop(key, None)
            copy._old.pop(key, None)
        return copy
