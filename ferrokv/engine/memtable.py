"""The memtable: the records of one WAL, in memory.

Point reads use a plain dict without a lock. Ordered reads use a sorted index under the memtable's lock, because a
SortedList that is scanned while another thread inserts loses keys (measured: docs/decisions/0002-memtable.md).
"""

from __future__ import annotations

from itertools import islice
from threading import Lock
from typing import Final

from sortedcontainers import SortedList

from ..format.commits import Entry

FEED_RECORDS: Final = 512


class Memtable:
    """Records of WAL `number`. One writer applies; any thread reads."""

    __slots__ = ("_feeding", "_fresh", "_index", "_lock", "_pins", "entries", "number", "seqno", "wal_bytes")

    def __init__(self, number: int, seqno: int) -> None:
        self.number = number
        self.entries: dict[bytes, Entry] = {}
        self.seqno = seqno  # of the newest commit that is in; owner: writer, under the lock
        self.wal_bytes = 0  # owner: writer
        self._lock = Lock()
        self._pins: dict[int, int] = {}  # seqno -> number of snapshots at it; owner: the lock
        self._index = SortedList()  # owner: the lock
        self._fresh: dict[bytes, None] = {}  # keys that the index does not have yet; owner: the lock
        self._feeding = False  # True only while the index is being changed; owner: the lock

    def apply(self, entries: dict[bytes, Entry], seqno: int) -> None:
        """Make one commit visible, at once and as a whole. Called by the owner of the WAL only. May be repeated."""
        # A call and no loop stands in this `with`: on CPython 3.13 an exception that a signal handler raises at a loop's jump
        # back, directly inside a `with`, leaves without releasing (a third of such interrupts, measured on 3.13.0).
        with self._lock:
            self._apply_locked(entries, seqno)

    @property
    def index_hungry(self) -> bool:
        """True if there are enough fresh keys for a slice of work."""
        return len(self._fresh) >= FEED_RECORDS

    def feed_index(self) -> None:
        """Move fresh keys to the sorted index. About 1.1 µs a key."""
        with self._lock:
            self._feed_locked()

    def pin(self) -> int:
        """The newest seqno, whose versions are kept until `unpin`."""
        with self._lock:
            self._pins[self.seqno] = self._pins.get(self.seqno, 0) + 1
            return self.seqno

    def unpin(self, seqno: int) -> None:
        """Let the versions of a pinned seqno go: they leave memory when their keys are written again."""
        with self._lock:
            self._pins[seqno] -= 1
            if not self._pins[seqno]:
                del self._pins[seqno]

    def get_at(self, key: bytes, seqno: int) -> Entry | None:
        """The newest version of `key` that is not newer than the pinned `seqno`."""
        entry = self.entries.get(key)
        while entry is not None and entry[2] > seqno:
            entry = entry[3]
        return entry

    def page(
        self, low: bytes, high: bytes | None, limit: int, *, reverse: bool, seqno: int | None
    ) -> tuple[list[bytes], list[Entry], bool]:
        """Up to `limit` keys of [low, high) from the near end, ascending; their entries; whether there may be more."""
        with self._lock:
            self._feed_locked()
            found = self._index.irange(low, high, (True, False), reverse)
            keys = list(islice(found, limit))
        more = len(keys) == limit
        if reverse:
            keys.reverse()
        if seqno is None:
            return keys, [self.entries[key] for key in keys], more
        pairs = [(key, entry) for key in keys if (entry := self.get_at(key, seqno)) is not None]
        return [pair[0] for pair in pairs], [pair[1] for pair in pairs], more

    def _apply_locked(self, entries: dict[bytes, Entry], seqno: int) -> None:
        current = self.entries
        for key in entries:
            if key not in current:
                self._fresh[key] = None
        if self._pins:
            _keep_older(entries, current, max(self._pins))
        # Invariant: one C call that runs no Python code, so no other thread sees half of a commit.
        current.update(entries)
        self.seqno = seqno

    def _feed_locked(self) -> None:
        if self._feeding:
            # A signal handler raised in the middle of a change: the index is made anew from what is true.
            self._index = SortedList(self.entries)
        elif self._fresh:
            self._feeding = True
            self._index.update(self._fresh)
        self._fresh = {}
        self._feeding = False


def _keep_older(entries: dict[bytes, Entry], current: dict[bytes, Entry], newest_pin: int) -> None:
    for key, (value, expires_ms, seqno, _) in entries.items():
        older = current.get(key)
        if older is not None and older[2] != seqno:
            entries[key] = (value, expires_ms, seqno, older if older[2] <= newest_pin else older[3])
