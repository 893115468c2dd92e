"""The rules, for flushes and compactions, by which records of a merged page are kept or dropped."""

from __future__ import annotations

from bisect import bisect_left

from ..engine.engine import EXPIRY_GRACE_MS
from ..format.keys import decode_keyspace_id
from ..tree.merge import Page
from ..tree.view import Catalogue


class Survivors:
    """Decides page by page. The catalogue must be that of a view that is not older than the inputs.

    `now_ms` must be the certain moment (`Engine.certain_ms`), never the time of a clock alone.
    """

    def __init__(self, now_ms: int, catalogue: Catalogue) -> None:
        self.now_ms = now_ms
        self.catalogue = catalogue
        self._live = catalogue.live_ids()  # computed once, since there may be many keyspaces and many pages
        self._live_in_order = sorted(self._live)
        self.expired = 0
        self.gone: frozenset[bytes] = frozenset()  # evicted keys to drop; newer tombstones hide them already

    def dead_range(self, low: bytes, high: bytes) -> bool:
        """Return True if all keyspaces that the keys in [low, high] can belong to are dead."""
        first, last = decode_keyspace_id(low), decode_keyspace_id(high)
        place = bisect_left(self._live_in_order, first)
        none_alive = place == len(self._live_in_order) or self._live_in_order[place] > last
        return none_alive and last < self.catalogue.next_id

    def of(self, page: Page, *, bottom: bool) -> Page:
        """Return the records to keep.

        With `bottom`, nothing older overlaps the page, so tombstones and expired records are
        dropped. Otherwise an expired record becomes a tombstone, because it may hide older records
        below.
        """
        keys, entries = page
        if self.gone and not self.gone.isdisjoint(keys):
            kept = [(k, e) for k, e in zip(keys, entries, strict=True) if k not in self.gone]
            if not kept:
                return [], []
            keys, entries = [k for k, _ in kept], [e for _, e in kept]
        if decode_keyspace_id(keys[0]) != decode_keyspace_id(keys[-1]) or self.dead_range(keys[0], keys[0]):
            live = self._live
            next_id = self.catalogue.next_id
            kept = [(k, e) for k, e in zip(keys, entries, strict=True) if self._alive(k, live, next_id)]
            keys, entries = [k for k, _ in kept], [e for _, e in kept]
        limit = self.now_ms - EXPIRY_GRACE_MS
        if not any(entry[0] is None or entry[1] for entry in entries):
            return keys, entries
        kept = []
        for key, entry in zip(keys, entries, strict=True):
            if entry[0] is not None and 0 < entry[1] < limit:
                self.expired += 1
                entry = (None, 0, entry[2], None)
            if entry[0] is not None or not bottom:
                kept.append((key, entry))
        return [k for k, _ in kept], [e for _, e in kept]

    @staticmethod
    def _alive(key: bytes, live: frozenset[int], next_id: int) -> bool:
        keyspace_id = decode_keyspace_id(key)
        return keyspace_id in live or keyspace_id >= next_id
