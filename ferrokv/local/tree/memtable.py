"""The memtable: the records of one WAL in memory.

Point reads use a plain dict and take no lock. Ordered reads use a sorted index under the memtable's
lock, because a SortedList that is scanned while another thread inserts skips keys (measured:
docs/decisions/0002-memtable.md). New keys are put into the index later, by a slice of background
work or by the next ordered read.

A snapshot pins the seqno of the newest commit. While a seqno is pinned, an entry keeps a link to
the older version of its key that the snapshot sees.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import islice
from threading import RLock
from typing import Any, Final

from sortedcontainers import SortedList

from ...errors import StoreBusy
from ..format.commits import Entry

FEED_RECORDS: Final = 512
REENTERED: Final = "a signal handler or destructor came in the middle of a change by its own thread"


class Memtable:
    """The records of WAL `number`. One writer at a time applies commits; any thread reads.

    A signal handler or destructor may run in the middle of a change, in the thread that makes the
    change. Then everything except point reads and `unpin` raises `StoreBusy`.
    """

    __slots__ = (
        "_changing",
        "_feeding",
        "_fresh",
        "_index",
        "_lock",
        "_pins",
        "_unpinned",
        "entries",
        "is_mine",
        "number",
        "seqno",
        "wal_bytes",
    )

    def __init__(self, number: int, seqno: int) -> None:
        self.number = number
        self.entries: dict[bytes, Entry] = {}
        self.seqno = seqno  # of the newest commit in this memtable; owner: writer, under the lock
        self.wal_bytes = 0  # owner: writer
        self._lock = RLock()  # re-entrant, so that re-entry is refused (`_changing`) and does not deadlock
        # Returns True if the calling thread holds the lock; then it must not wait for a thread that
        # may need it.
        self.is_mine: Callable[[], bool] = self._lock._is_owned  # type: ignore[attr-defined]
        self._changing = False  # a change is under way; owner: the lock
        self._pins: dict[int, int] = {}  # seqno -> number of snapshots at it; owner: the lock
        self._unpinned: deque[int] = deque()  # unpinned, but not yet removed from `_pins`; any thread appends
        self._index = SortedList()  # owner: the lock
        self._fresh: dict[bytes, None] = {}  # keys that are not in the index yet; owner: the lock
        self._feeding = False  # True only while the index is being changed; owner: the lock

    def apply(self, entries: dict[bytes, Entry], seqno: int) -> None:
        """Make one commit visible, atomically. Only for the owner of the WAL. May be repeated."""
        current = self.entries
        fresh = {key: None for key in entries if key not in current}
        # No loops directly inside this `with`: on CPython 3.13, an exception that a signal handler
        # raises at a loop's backward jump leaves the `with` without releasing (a third of such
        # interrupts, measured on 3.13.0).
        with self._lock:
            if self._changing:
                raise StoreBusy(REENTERED)
            self._changing = True
            try:
                if self._unpinned:
                    self._drain_unpinned()
                self._fresh.update(fresh)
                if self._pins:
                    _keep_older(entries, current, sorted(self._pins, reverse=True))
                # Invariant: this is one C call that runs no Python code, so no thread sees half of
                # a commit.
                current.update(entries)
                self.seqno = seqno
            finally:
                self._changing = False

    @property
    def index_hungry(self) -> bool:
        """True if there are enough new keys to make a slice of indexing worthwhile."""
        return len(self._fresh) >= FEED_RECORDS

    def feed_index(self) -> None:
        """Put the new keys into the sorted index. About 1.1 µs per key."""
        with self._lock:
            self._exclusively(self._feed_locked)

    def pin(self) -> int:
        """Pin the newest seqno and return it. The versions that it sees are kept until `unpin`."""
        with self._lock:
            seqno: int = self._exclusively(self._pin_locked)
        return seqno

    def unpin(self, seqno: int) -> None:
        """Undo one `pin`. Older versions of a key leave memory when the key is written again.

        This takes no lock: the garbage collector may call it at any moment, in a thread that holds
        the lock.
        """
        self._unpinned.append(seqno)

    def get_at(self, key: bytes, seqno: int) -> Entry | None:
        """Return the newest version of `key` as of the pinned `seqno`."""
        entry = self.entries.get(key)
        while entry is not None and entry[2] > seqno:
            entry = entry[3]
        return entry

    def page(
        self, low: bytes, high: bytes | None, limit: int, *, reverse: bool, seqno: int | None
    ) -> tuple[list[bytes], list[Entry], bool]:
        """Return up to `limit` keys of [low, high), their entries, and whether there may be more.

        The keys are the first of the range, or the last ones with `reverse`; in both cases they
        ascend. With a pinned `seqno`, keys without a version that old are left out.
        """
        with self._lock:
            keys: list[bytes] = self._exclusively(self._page_locked, low, high, limit, reverse)
        more = len(keys) == limit
        if reverse:
            keys.reverse()
        if seqno is None:
            return keys, [self.entries[key] for key in keys], more
        pairs = [(key, entry) for key in keys if (entry := self.get_at(key, seqno)) is not None]
        return [pair[0] for pair in pairs], [pair[1] for pair in pairs], more

    def _exclusively(self, step: Callable[..., Any], *args: Any) -> Any:
        """Run a step under the lock.

        Raises `StoreBusy` if this thread is in the middle of another one. That happens when a
        signal handler or a destructor calls the memtable.
        """
        if self._changing:
            raise StoreBusy(REENTERED)
        self._changing = True
        try:
            return step(*args)
        finally:
            self._changing = False

    def _pin_locked(self) -> int:
        self._drain_unpinned()
        self._pins[self.seqno] = self._pins.get(self.seqno, 0) + 1
        return self.seqno

    def _page_locked(self, low: bytes, high: bytes | None, limit: int, reverse: bool) -> list[bytes]:
        self._feed_locked()
        return list(islice(self._index.irange(low, high, (True, False), reverse), limit))

    def _feed_locked(self) -> None:
        if self._feeding:
            # A signal handler raised in the middle of changing the index, so build it again from
            # the entries.
            self._index = SortedList(self.entries)
        elif self._fresh:
            self._feeding = True
            self._index.update(self._fresh)
        self._fresh = {}
        self._feeding = False

    def _drain_unpinned(self) -> None:
        while self._unpinned:
            seqno = self._unpinned.popleft()
            self._pins[seqno] -= 1
            if not self._pins[seqno]:
                del self._pins[seqno]


def _keep_older(entries: dict[bytes, Entry], current: dict[bytes, Entry], pins: list[int]) -> None:
    """Link each new entry to the older versions that a pin can still see.

    `pins` are in descending order.
    """
    for key, (value, expires_ms, seqno, _) in entries.items():
        older = current.get(key)
        if older is None:
            continue
        if older[2] == seqno:
            entries[key] = older  # this commit was applied before, and an exception interrupted it
        else:
            entries[key] = (value, expires_ms, seqno, _visible(older, pins))


def _visible(entry: Entry | None, pins: list[int]) -> Entry | None:
    """Return the chain of versions, reduced to those that are the newest for some pin."""
    kept: list[Entry] = []
    for pin in pins:
        while entry is not None and entry[2] > pin:
            entry = entry[3]
        if entry is None:
            break
        if not kept or kept[-1] is not entry:
            kept.append(entry)
    chain: Entry | None = None
    for value, expires_ms, seqno, _ in reversed(kept):
        chain = (value, expires_ms, seqno, chain)
    return chain
