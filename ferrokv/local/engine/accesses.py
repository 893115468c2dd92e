"""Counting roughly how often records are read, for eviction (docs/decisions/0022-quotas.md).

A record that is read from a table becomes a hot record, and stays one while it is read again. So
the keys of each generation of the hot records (tree/cache.py) that has ended are those that were
read in its time, and a key's count is the number of generations it was in. Reads pay nothing for
that. Counts go up to 15 and are indexed by the hash of the key; keys whose hashes collide share
one. Reads that a memtable answers are not counted, but the write of the record is
(upkeep/quotas.py).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

from ..format.checksums import hash_key

COUNTS: Final = 1 << 20
COUNT_MAX: Final = 15
GENERATIONS_MAX: Final = 32  # generations that may wait to be counted; the oldest ones are dropped
_MASK: Final = COUNTS - 1
_HALVES: Final = bytes(min(i, COUNT_MAX) // 2 for i in range(256))


class Accesses:
    """The counts of one process.

    Owner: the holder of the compact lock. Any thread appends to `generations`.
    """

    def __init__(self) -> None:
        self.generations: deque[list[bytes]] = deque(maxlen=GENERATIONS_MAX)
        self._counts = bytearray(COUNTS)

    def count(self) -> None:
        """Count the generations that have ended. About 0.3 µs per key."""
        while self.generations:
            self.add(self.generations.popleft())

    def add(self, keys: Iterable[bytes]) -> None:
        """Count one more access to each key."""
        counts = self._counts
        for key in keys:
            i = hash_key(key) & _MASK
            counts[i] = min(COUNT_MAX, counts[i] + 1)

    def of(self, key_hash: int) -> int:
        """Return the count of the key with this hash."""
        return self._counts[key_hash & _MASK]

    def halve(self) -> None:
        """Halve all counts, so that older accesses weigh less than new ones."""
        self._counts = bytearray(self._counts.translate(_HALVES))


class QuotaState:
    """What quota enforcement (upkeep/quotas.py) remembers in a process.

    Owner: the holder of the compact lock.
    """

    def __init__(self) -> None:
        self.checked = -1  # how much had been written when the memtables were last checked
        self.checked_idle = -1  # the same, for checks at times when nobody was writing
        self.settled: tuple[object, ...] = ()  # version and catalogue for which there is nothing left to do
        self.shares: dict[tuple[int, bytes], int] = {}  # (table, prefix) -> bytes of the keyspace in the table
        self.cursors: dict[bytes, bytes] = {}  # prefix -> smallest key of the table that was visited last
        self.accesses: Accesses | None = None  # None before the first quota
        self.fruitless_visits = 0  # visits in a row to tables from which nothing could be evicted
        self.evicted_bytes = 0  # since the access counts were last halved
