"""The records of a keyspace, as read-only commands see them: in a view or in a transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from ..clock import Now
from ..format.commits import Entry
from ..format.keys import successor_of_prefix
from ..storage.requests import PAUSE, Op
from .read import PendingRead, has_expired, live, probe_entry, read_entry, search
from .scan import Pairs, Scan
from .view import Catalogue, View

SLICE_KEYS: Final = 512  # after so many keys, an operation pauses so that an event loop can do other work
Found = tuple[bytes, int]
"""(value, expires_ms or 0) of a live record.

The value is a `Root` if the key names a collection.
"""


class Records(Protocol):
    """A keyspace at one moment.

    Keys are user keys, except those called internal, which begin with `prefix[:4]`.
    """

    @property
    def now_ms(self) -> int:
        """The moment, in ms since 1970."""

    @property
    def prefix(self) -> bytes | None:
        """The prefix of user keys; None if nothing was ever written to the keyspace."""

    @property
    def catalogue(self) -> Catalogue:
        """All keyspaces."""

    def inside(self, keyspace: str) -> Records:
        """Return another keyspace at the same moment."""

    def find(self, key: bytes) -> Op[Found | None]:
        """Return the live record of a user key, or None."""

    def find_all(self, keys: Sequence[bytes]) -> Op[list[Found | None]]:
        """Return what `find` does, for each key."""

    def read(self, internal_key: bytes) -> Op[bytes | None]:
        """Return the value of a part of a collection, or None."""

    def scan(self, low: bytes, high: bytes | None, *, reverse: bool = False) -> Scan:
        """Return a scan of the live records with internal keys in [low, high)."""

    def read_parts(self, prefix: bytes, count: int) -> Op[Pairs]:
        """Return all live records whose internal keys begin with `prefix`, in order.

        The prefix is removed from the keys. There should be `count` such records.
        """


def read_scan(scan: Scan, skip: int, limit: int | None = None) -> Op[Pairs]:
    """Return up to `limit` records of a scan, in its order.

    Each is (key without its first `skip` bytes, value).
    """
    pairs: Pairs = []
    pause_at = SLICE_KEYS
    while (limit is None or len(pairs) < limit) and (page := (yield from scan.next_page(skip))) is not None:
        pairs += page
        if len(pairs) >= pause_at:
            yield PAUSE
            pause_at += SLICE_KEYS
    return pairs if limit is None else pairs[:limit]


class ViewRecords:
    """A keyspace of a view. The view must be pinned if more than one record is read.

    The moment is taken when it is first needed.
    """

    __slots__ = ("_clock", "_now_ms", "prefix", "view")

    def __init__(self, view: View, keyspace: str, clock: Now) -> None:
        self.view = view
        self.prefix = view.prefix(keyspace)
        self._clock = clock
        self._now_ms = 0

    @property
    def now_ms(self) -> int:
        """The moment at which this was first asked for, in ms since 1970."""
        if not self._now_ms:
            self._now_ms = self._clock()
        return self._now_ms

    @property
    def catalogue(self) -> Catalogue:
        """All keyspaces."""
        return self.view.catalogue

    def inside(self, keyspace: str) -> ViewRecords:
        """Return another keyspace at the same moment."""
        other = ViewRecords(self.view, keyspace, self._clock)
        other._now_ms = self.now_ms
        return other

    def find(self, key: bytes) -> Op[Found | None]:
        """Return the live record of a user key, or None."""
        if self.prefix is None:
            return None
        entry = yield from read_entry(self.view, self.prefix + key)
        if entry is None or not live(entry, self.now_ms):
            return None
        return entry[0], entry[1]  # type: ignore[return-value]

    def find_all(self, keys: Sequence[bytes]) -> Op[list[Found | None]]:
        """Return what `find` does, for each key. Pauses after every SLICE_KEYS keys."""
        prefix = self.prefix
        if prefix is None:
            return [None] * len(keys)
        now_ms = self.now_ms
        found: list[Found | None] = []
        for i, key in enumerate(keys):
            if i % SLICE_KEYS == SLICE_KEYS - 1:
                yield PAUSE
            entry = probe_entry(self.view, prefix + key)
            if isinstance(entry, PendingRead):
                entry = yield from search(entry)
            if entry is None or entry[0] is None or has_expired(entry[1], now_ms):
                found.append(None)
            else:
                found.append((entry[0], entry[1]))
        return found

    def read(self, internal_key: bytes) -> Op[bytes | None]:
        """Return the value of a part of a collection, or None."""
        entry = yield from read_entry(self.view, internal_key)
        return None if entry is None else entry[0]

    def scan(self, low: bytes, high: bytes | None, *, reverse: bool = False) -> Scan:
        """Return a scan of the live records with internal keys in [low, high)."""
        return Scan(self.view, low, high, lambda: self.now_ms, reverse=reverse)

    def read_parts(self, prefix: bytes, count: int) -> Op[Pairs]:
        """Return all live records whose internal keys begin with `prefix`, in order, without it.

        There should be `count` such records. If the memtables hold that many, the tables are not
        read: they can only hold older versions of the same records.
        """
        high = successor_of_prefix(prefix)
        if count <= SLICE_KEYS:
            found = self._parts_in_memory(prefix, high, count)
            if found is not None:
                return found
        return (yield from read_scan(self.scan(prefix, high), len(prefix)))

    def _parts_in_memory(self, low: bytes, high: bytes | None, count: int) -> Pairs | None:
        """Return the result of `read_parts` if the memtables hold `count` records, else None.

        Parts of collections never expire, so expiries are not checked.
        """
        view = self.view
        skip = len(low)
        newest: dict[bytes, Entry] = {}
        for memtable in view.memtables:
            seqno = view.as_of if memtable is view.active else None
            keys, entries, more = memtable.page(low, high, 2 * SLICE_KEYS, reverse=False, seqno=seqno)
            if more:
                return None
            if newest:
                newest = {**dict(zip(keys, entries, strict=True)), **newest}
                keys = sorted(newest)
                entries = [newest[key] for key in keys]
            else:
                newest = dict(zip(keys, entries, strict=True))
            pairs = [(key[skip:], entry[0]) for key, entry in zip(keys, entries, strict=True) if entry[0] is not None]
            if len(pairs) == count:
                return pairs
        return None
