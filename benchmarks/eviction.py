"""Which records a cache should lose: hit ratios of eviction policies on synthetic traces, simulated.

    python benchmarks/eviction.py

Records are of one size, so that a capacity is a number of records; a miss writes the record. Seeds are fixed.

- `age`: the oldest written go first, what ferrokv did before decision 22.
- `lru`: the least recently used goes first.
- `tinylfu`: W-TinyLFU with an LRU window of 1 % and a segmented LRU behind an admission sketch, as Caffeine has it.
- `table`: what ferrokv does. New records collect in memory and level 0 (the window), then stand in tables by ranges of hashed keys.
  When all is too much, the next table in turn loses those of its records that were counted least, of these the oldest written.
  What counts is how often a key was written, and in how many generations of the records kept in memory it was: a row of 4-bit
  counters, halved each time that eight times as much was evicted as the cache holds.
"""

from __future__ import annotations

import bisect
import itertools
import json
import random
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, Protocol

ACCESSES: Final = 1_000_000
KEYS: Final = 100_000
CAPACITIES: Final = (2_000, 10_000)
RESULTS: Final = Path(__file__).parent / "results" / "eviction.json"


class Policy(Protocol):
    """A cache of a fixed number of records."""

    def access(self, key: int) -> bool:
        """True for a hit; after a miss the key is there, unless the policy does not admit it."""


class Age:
    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._there: OrderedDict[int, None] = OrderedDict()

    def access(self, key: int) -> bool:
        if key in self._there:
            return True
        self._there[key] = None
        if len(self._there) > self._capacity:
            self._there.popitem(last=False)
        return False


class Lru(Age):
    def access(self, key: int) -> bool:
        hit = super().access(key)
        self._there.move_to_end(key)
        return hit


class Sketch:
    """Count-min of four rows of counters up to 15, halved after ten times the capacity."""

    def __init__(self, capacity: int) -> None:
        self._mask = (1 << (capacity * 4).bit_length()) - 1
        self._rows = [bytearray(self._mask + 1) for _ in range(4)]
        self._left = self._size = 10 * capacity

    def _places(self, key: int) -> Iterable[tuple[bytearray, int]]:
        for i, row in enumerate(self._rows):
            yield row, (key * (0x9E3779B97F4A7C15 + 2 * i * 0xBF58476D1CE4E5B9) >> 20) & self._mask

    def add(self, key: int) -> None:
        for row, i in self._places(key):
            row[i] = min(15, row[i] + 1)
        self._left -= 1
        if not self._left:
            self._left = self._size
            halves = bytes(i // 2 for i in range(256))
            self._rows = [bytearray(row.translate(halves)) for row in self._rows]

    def count(self, key: int) -> int:
        return min(row[i] for row, i in self._places(key))


class TinyLfu:
    def __init__(self, capacity: int) -> None:
        self._sketch = Sketch(capacity)
        self._window: OrderedDict[int, None] = OrderedDict()
        self._probation: OrderedDict[int, None] = OrderedDict()
        self._protected: OrderedDict[int, None] = OrderedDict()
        self._window_max = max(1, capacity // 100)
        self._main_max = capacity - self._window_max
        self._protected_max = self._main_max * 8 // 10

    def access(self, key: int) -> bool:
        self._sketch.add(key)
        if key in self._window:
            self._window.move_to_end(key)
            return True
        if key in self._protected:
            self._protected.move_to_end(key)
            return True
        if key in self._probation:
            del self._probation[key]
            self._protected[key] = None
            if len(self._protected) > self._protected_max:
                self._probation[self._protected.popitem(last=False)[0]] = None
            return True
        self._window[key] = None
        if len(self._window) > self._window_max:
            self._admit(self._window.popitem(last=False)[0])
        return False

    def _admit(self, candidate: int) -> None:
        if len(self._probation) + len(self._protected) < self._main_max:
            self._probation[candidate] = None
            return
        victim = next(iter(self._probation or self._protected))
        if self._sketch.count(candidate) > self._sketch.count(victim):
            (self._probation if victim in self._probation else self._protected).pop(victim)
            self._probation[candidate] = None


class Tables:
    """`share` of a table goes at one visit; `window` of the capacity is new; `hot` of it is kept in memory, by generations."""

    def __init__(
        self, capacity: int, share: float = 0.25, window: float = 0.2, hot: float = 0.1, tables: int = 16
    ) -> None:
        self._capacity, self._share = capacity, share
        self._window_max, self._hot_max = int(capacity * window), int(capacity * hot / 2)
        self._written = 0
        self._window: dict[int, int] = {}
        self._tables: list[dict[int, int]] = [{} for _ in range(tables)]
        self._turn = 0
        self._in_tables = 0
        self._young: set[int] = set()
        self._old: set[int] = set()
        self._counts = bytearray(1 << 20)
        self._evicted = 0

    def access(self, key: int) -> bool:
        if key in self._window:
            return True
        hashed = key * 0x9E3779B97F4A7C15 & (1 << 64) - 1
        table = self._tables[(hashed >> 40) % len(self._tables)]
        if key in table:
            self._young.add(key)
            if len(self._young) > self._hot_max:
                for seen in self._young:
                    self._count_one(seen)
                self._old, self._young = self._young, set()
            return True
        self._written += 1
        self._window[key] = self._written
        if len(self._window) > self._window_max:
            self._flush()
        return False

    def _flush(self) -> None:
        for key, written in self._window.items():
            self._count_one(key)
            hashed = key * 0x9E3779B97F4A7C15 & (1 << 64) - 1
            self._tables[(hashed >> 40) % len(self._tables)][key] = written
        self._in_tables += len(self._window)
        self._window = {}
        needed = self._in_tables - (self._capacity - self._window_max)
        while needed > 0:
            table = self._tables[self._turn]
            self._turn = (self._turn + 1) % len(self._tables)
            number = min(needed, max(1, int(len(table) * self._share)))
            for key in sorted(table, key=lambda key: (self._count(key), table[key]))[:number]:
                del table[key]
                self._young.discard(key)
                self._old.discard(key)
                needed -= 1
                self._in_tables -= 1
                self._evicted += 1
        if self._evicted > 8 * self._capacity:
            self._evicted = 0
            self._counts = bytearray(self._counts.translate(bytes(i // 2 for i in range(256))))

    def _count_one(self, key: int) -> None:
        i = (key * 0x9E3779B97F4A7C15 & (1 << 64) - 1) >> 44
        self._counts[i] = min(15, self._counts[i] + 1)

    def _count(self, key: int) -> int:
        hashed = key * 0x9E3779B97F4A7C15 & (1 << 64) - 1
        return self._counts[hashed >> 44] + (key in self._young or key in self._old)


POLICIES: Final[dict[str, Callable[[int], Policy]]] = {
    "age": Age,
    "lru": Lru,
    "tinylfu": TinyLfu,
    "table": Tables,
}


def zipf(exponent: float = 0.9) -> list[int]:
    """Popularity falls with the rank."""
    chance = random.Random(42)
    ends = list(itertools.accumulate((rank + 1) ** -exponent for rank in range(KEYS)))
    return [bisect.bisect_left(ends, chance.random() * ends[-1]) for _ in range(ACCESSES)]


def scans() -> list[int]:
    """As `zipf`, with scans between: after each 20,000 accesses come 10,000 keys that nobody asks for again."""
    trace: list[int] = []
    fresh = itertools.count(KEYS)
    popular = iter(zipf())
    while len(trace) < ACCESSES:
        trace.extend(itertools.islice(popular, 20_000))
        trace.extend(itertools.islice(fresh, 10_000))
    return trace[:ACCESSES]


def drift() -> list[int]:
    """As `zipf`, but what is popular changes: every 100,000 accesses the ranks move on by a tenth of the keys."""
    return [(key + i // 100_000 * KEYS // 10) % KEYS for i, key in enumerate(zipf())]


def main() -> None:
    """Print the table, and write it down unless told otherwise."""
    rows: dict[str, dict[str, float]] = {}
    for name, trace in (("zipf", zipf()), ("scans", scans()), ("drift", drift())):
        for capacity in CAPACITIES:
            row: dict[str, float] = {}
            for policy, make in POLICIES.items():
                cache = make(capacity)
                row[policy] = round(100 * sum(map(cache.access, trace)) / len(trace), 2)
            rows[f"{name}, {capacity:,} of {KEYS:,} records"] = row
            print(f"{name:6} {capacity:7,}", row, flush=True)
    if "--dry" not in sys.argv:
        RESULTS.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
