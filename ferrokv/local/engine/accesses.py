"""How often records were read, roughly: in how many generations of the hot records a key was.

What is read from a table comes into the hot records, and stays while it is read again. So the keys of each generation that has
ended say what was read in that time, and reading pays nothing for it. Four bits for each hash of a key, shared by those that
collide. What memtables answer is not counted, but that it was written is (quotas.py).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

from ..format.checksums import hash_key

COUNTS: Final = 1 << 20
COUNT_MAX: Final = 15
GENERATIONS_MAX: Final = 32  # that wait to be counted; the oldest are forgotten
_MASK: Final = COUNTS - 1
_HALVES: Final = bytes(min(i, COUNT_MAX) // 2 for i in range(256))


class Accesses:
    """Of one process. Owner: the holder of the compact lock; `generations` is appended to by any thread."""

    def __init__(self) -> None:
        self.generations: deque[list[bytes]] = deque(maxlen=GENERATIONS_MAX)
        self._counts = bytearray(COUNTS)

    def count(self) -> None:
        """Take in the generations that have ended. About 0.3 µs a key."""
        while self.generations:
            self.add(self.generations.popleft())

    def add(self, keys: Iterable[bytes]) -> None:
        """Keys that were read once more."""
        counts = self._counts
        for key in keys:
            i = hash_key(key) & _MASK
            counts[i] = min(COUNT_MAX, counts[i] + 1)

    def of(self, key_hash: int) -> int:
        """How often the key with this hash was counted."""
        return self._counts[key_hash & _MASK]

    def halve(self) -> None:
        """Let all that was counted so far weigh half."""
        self._counts = bytearray(self._counts.translate(_HALVES))


class Keeping:
    """What a process knows of the quotas that it keeps (quotas.py). Owner: the holder of the compact lock."""

    def __init__(self) -> None:
        self.checked = -1  # how much had been written when memtables were last looked at
        self.checked_idle = -1  # the same, when nobody was writing
        self.settled: tuple[object, ...] = ()  # version and catalogue in which nothing is left to do
        self.shares: dict[tuple[int, bytes], int] = {}  # (table, prefix) -> bytes of the keyspace
        self.cursors: dict[bytes, bytes] = {}  # prefix -> which table was visited last
        self.accesses: Accesses | None = None  # what was read how often, once there are quotas
        self.fruitless_visits = 0  # at tables in which nothing could be evicted, one after the other
        self.evicted_bytes = 0  # since reads that were counted lost half of their weight
