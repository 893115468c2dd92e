"""Quotas of keyspaces: what has to go so that a keyspace fits again.

Records with a TTL go first, nearest expiry first; then the oldest written, as far as tables tell: compaction keeps no time of
writing for each record, so those of one table count as equally old. A keyspace without a quota is never touched.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from functools import partial
from typing import Final, NamedTuple

from ..format.commits import Entry
from ..format.keys import GENERATION_END, KIND_ELEMENT, PREFIX_BYTES, successor_of_prefix
from ..format.roots import Root, decode_root
from ..storage.requests import PAUSE, Op
from .engine import Counters, Engine
from .merge import MemtableSource, Merge, Page, RunSource, Source
from .pins import pin_view
from .read import live
from .scan import Scan
from .table import Table
from .transaction import Transaction
from .usage import RECORD_BYTES, measure
from .view import View

VICTIMS_MAX: Final = 50_000
TARGET: Final = 0.9  # of the quota: so that the next eviction is some time away
STEP_BYTES_MIN: Final = 4096
Victim = tuple[bytes, int, int]
"""(user key, expires_ms and hash of the value that it was chosen with)"""


class Victims(NamedTuple):
    """What has to go of one keyspace, whose user keys had this prefix when it was chosen."""

    prefix: bytes
    records: list[Victim]


def quota_due(engine: Engine, *, idle: bool = False) -> bool:
    """True if enough was written since the last look that a quota may be passed; when idle, if anything was."""
    quotas = engine.view.catalogue.quotas
    if not quotas:
        return False
    step = 1 if idle else max(STEP_BYTES_MIN, min(quotas.values()) // 16)
    return engine.quotas_checked < 0 or not 0 <= _written(engine) - engine.quotas_checked < step


def _written(engine: Engine) -> int:
    position = engine.wal.position
    return position.number * engine.options.memtable_bytes + position.end


def find_victims(engine: Engine) -> Op[dict[str, Victims]]:
    """Keyspace -> what has to go, for those over their quota. Two passes over such a keyspace."""
    engine.quotas_checked = _written(engine)
    found: dict[str, Victims] = {}
    view = yield from pin_view(engine)
    try:
        for name, max_bytes in view.catalogue.quotas.items():
            prefix = view.prefix(name)
            if prefix is None or bytes_at_most(view, prefix) <= max_bytes:
                continue
            now_ms = engine.clock()
            usage = yield from measure(partial(_scan, view, now_ms), prefix)
            if usage.bytes > max_bytes:
                needed = usage.bytes - int(max_bytes * TARGET)
                found[name] = Victims(prefix, (yield from _choose(view, prefix, now_ms, needed)))
    finally:
        view.unpin()
    return found


def _scan(view: View, now_ms: int, low: bytes, high: bytes | None) -> Scan:
    return Scan(view, low, high, lambda: now_ms)


def bytes_at_most(view: View, prefix: bytes) -> int:
    """What a keyspace can take at most: all memtables, and the tables that may hold something of it."""
    low, high = prefix[:4], successor_of_prefix(prefix[:4]) or b"\xff" * 5
    tables = [table for table in view.version.tables() if table.min_key < high and low <= table.max_key]
    memtables = sum(memtable.wal_bytes for memtable in (view.active, *view.sealed))
    # What records have in common stands once in a block, but is counted for each.
    shared = sum((min(len(t.min_key), len(t.max_key)) + RECORD_BYTES) * t.meta.records for t in tables)
    return memtables + sum(table.meta.file_bytes for table in tables) + shared


def _choose(view: View, prefix: bytes, now_ms: int, needed: int) -> Op[list[Victim]]:
    """The first to go, together at least `needed` bytes, or VICTIMS_MAX of them."""
    sizes = yield from _collection_sizes(view, prefix)
    merge = Merge(_ranked_sources(view, prefix, successor_of_prefix(prefix)))
    # The heap's top is the last to go of those chosen so far.
    chosen: list[tuple[int, int, bytes, int, int, int]] = []
    total = 0
    while (page := (yield from merge.next_page())) is not None:
        for key, entry in zip(*page, strict=True):
            if not live(entry, now_ms):
                continue
            value, expires_ms, rank, _ = entry
            size = len(key) - PREFIX_BYTES + len(value or b"") + RECORD_BYTES
            if value.__class__ is Root:
                size += sizes.get(decode_root(value or b"").generation, 0)
            order = (0, -expires_ms) if expires_ms else (-1, -rank)
            heapq.heappush(chosen, (*order, key[PREFIX_BYTES:], size, expires_ms, hash(value)))
            total += size
            while chosen and (total - chosen[0][3] >= needed or len(chosen) > VICTIMS_MAX):
                total -= heapq.heappop(chosen)[3]
        yield PAUSE
    return [(key, expires_ms, value_hash) for _, _, key, _, expires_ms, value_hash in chosen]


def _collection_sizes(view: View, prefix: bytes) -> Op[dict[int, int]]:
    """Generation -> bytes of its elements."""
    sizes: dict[int, int] = {}
    part = prefix[:4] + KIND_ELEMENT
    scan = Scan(view, part, successor_of_prefix(part), lambda: 0)
    while (page := (yield from scan.next_page(PREFIX_BYTES))) is not None:
        for key, value in page:
            generation = int.from_bytes(key[: GENERATION_END - PREFIX_BYTES], "big")
            sizes[generation] = sizes.get(generation, 0) + len(key) + len(value) + RECORD_BYTES
        yield PAUSE
    return sizes


def _ranked_sources(view: View, low: bytes, high: bytes | None) -> list[Source]:
    """The sources of a scan, from old to new, whose entries carry in their third place when they were written."""
    tables = [table for level in view.version.levels[:0:-1] for table in level]
    tables += reversed(view.version.levels[0])
    inside = [table for table in tables if low <= table.max_key and (high is None or table.min_key < high)]
    memtables = [MemtableSource(memtable, low, high) for memtable in reversed(view.sealed)]
    active = MemtableSource(view.active, low, high, as_of=view.as_of)
    return [*(_RankedSource(table, low, high) for table in inside), *memtables, active]


class _RankedSource:
    """The records of one table, each with the newest seqno of the table."""

    def __init__(self, table: Table, low: bytes, high: bytes | None) -> None:
        self._rank = table.meta.last_seqno
        self._run = RunSource([table], low, high, use_cache=False)

    def next_page(self) -> Op[Page | None]:
        """As `merge.Source` says."""
        page = yield from self._run.next_page()
        if page is None:
            return None
        keys, entries = page
        ranked: list[Entry] = [(entry[0], entry[1], self._rank, None) for entry in entries]
        return keys, ranked


def evict(tx: Transaction, prefix: bytes, victims: Sequence[Victim], counters: Counters) -> None:
    """Delete victims that are as they were when they were chosen, unless the keyspace was cleared or has no quota any more."""
    if tx.prefix != prefix or not tx.quota:
        return
    for key, expires_ms, value_hash in victims:
        found = tx.get(key)
        if found is not None and found[1] == expires_ms and hash(found[0]) == value_hash:
            tx.delete(key)
            counters.evicted += 1
