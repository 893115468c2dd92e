"""Quotas of keyspaces: measuring how full they are, and evicting (docs/decisions/0022-quotas.md).

The size of a keyspace is what it takes in the tables, including replaced and dead records. That is
known without reading the tables. If a keyspace is over its quota, its tables of level 0 are merged
down first. After that, one of its tables at a time, round robin, is read and rewritten without its
least wanted records. A commit deletes these records before the table is rewritten, so every process
sees them go at the same moment. Keyspaces without a quota are never touched.

`quota_due`, `flush_for_quota` and `tables_changed` decide when to look. `find_room` chooses what to
do for a keyspace: a merge, or victims. The caller deletes the victims with `evict`, in a
transaction, and then calls `make_room`. Keyspaces that are over their quota by a memtable have a
bit in the word OVERFULL, which makes their writers wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from ..compaction.compaction import run_merge
from ..compaction.picker import Merging, PickerContext, merge_level0, push_down, resume, rewriting
from ..compaction.survivors import Survivors
from ..engine.accesses import Accesses
from ..engine.engine import Counters, Engine
from ..format.checksums import hash_key
from ..format.commits import Entry
from ..format.control import OVERFULL
from ..format.keys import (
    GENERATION_END,
    KIND_ELEMENT,
    KIND_KEY,
    KIND_OWNER,
    PREFIX_BYTES,
    decode_keyspace_id,
    successor_of_prefix,
)
from ..format.limits import NEVER
from ..format.roots import Root, decode_root
from ..log.transaction import Transaction
from ..storage.requests import PAUSE, Op
from ..tree.memtable import Memtable
from ..tree.merge import RunSource
from ..tree.read import has_expired, read_entry
from ..tree.table import Table
from ..tree.usage import RECORD_BYTES
from ..tree.version import LEVELS
from ..tree.view import View

TARGET: Final = 0.9  # evict down to this part of the quota, so that the next eviction is some time away
SHARE_MAX: Final = 0.25  # evict at most this part of a table's candidates at one visit
TURNOVERS: Final = 8  # halve the access counts after evicting so many times the quota
COUNTED_EACH: Final = 1000  # keys between two pauses
STEP_BYTES_MIN: Final = 4096
UNFLUSHED_BYTES_MIN: Final = 64 << 10
Victim = tuple[bytes, int, int]
"""(user key, expires_ms, hash of the value); the last two as they were when it was chosen"""


class Victims(NamedTuple):
    """The records to evict from one table of a keyspace, whose user keys have `prefix`."""

    keyspace: str
    prefix: bytes
    table: Table
    records: list[Victim]


def quota_due(engine: Engine, *, idle: bool = False) -> bool:
    """Return True if enough was written since the last check that a quota may be exceeded now.

    With `idle`, True if anything was written.
    """
    quotas = engine.view.catalogue.quotas
    if not quotas:
        return False
    if idle:
        return _written(engine) != engine.compactor.quota_state.checked_idle
    step = max(STEP_BYTES_MIN, min(quotas.values()) // 16)
    return (
        engine.compactor.quota_state.checked < 0
        or not 0 <= _written(engine) - engine.compactor.quota_state.checked < step
    )


def _written(engine: Engine) -> int:
    position = engine.wal.position
    return position.number * engine.options.memtable_bytes + position.end


def tables_changed(engine: Engine) -> bool:
    """Return True if tables or quotas have changed since quotas were last found to need nothing.

    Also True while the writers of some keyspace have to wait.
    """
    view = engine.view
    return bool(view.catalogue.quotas or engine.words[OVERFULL]) and (
        engine.compactor.quota_state.settled != (view.version, view.catalogue) or bool(engine.words[OVERFULL])
    )


def is_overfull(engine: Engine, keyspace: str) -> bool:
    """Return True if writes to the keyspace have to wait until there is room in it."""
    word = engine.words[OVERFULL]
    view = engine.view
    if keyspace not in view.catalogue.quotas:
        return False
    options = engine.options
    if sum(memtable.wal_bytes for memtable in view.sealed) > options.memtable_bytes * (
        options.sealed_memtables_max // 2
    ):
        return True
    prefix = view.prefix(keyspace)
    return bool(word) and prefix is not None and bool(word & _bit(prefix))


def _bit(prefix: bytes) -> int:
    return 1 << decode_keyspace_id(prefix) % 64


def flush_for_quota(engine: Engine, *, idle: bool) -> Op[bool]:
    """Return True if memtables should be flushed, since with them a keyspace is over its quota.

    Only for the holder of the compact lock.
    """
    engine.compactor.quota_state.checked = _written(engine)
    if idle:
        engine.compactor.quota_state.checked_idle = engine.compactor.quota_state.checked
    view = engine.view
    for name, quota in view.catalogue.quotas.items():
        prefix = view.prefix(name)
        if prefix is None:
            continue
        threshold = 0 if idle else max(UNFLUSHED_BYTES_MIN, quota // 4)
        if sum(memtable.wal_bytes for memtable in view.memtables) <= threshold:
            continue
        unflushed = _unflushed_bytes(view, prefix[:4])
        if unflushed > threshold and (yield from table_bytes(engine, prefix)) + unflushed > quota:
            return True
    return False


def _unflushed_bytes(view: View, keyspace: bytes) -> int:
    size = 0
    for memtable in view.memtables:
        # Copied by one C call, since the writer may be inserting.
        for key, entry in memtable.entries.copy().items():
            if key[:4] == keyspace:
                size += len(key) + len(entry[0] or b"") + RECORD_BYTES
    return size


def table_bytes(engine: Engine, prefix: bytes) -> Op[int]:
    """Return how many bytes of table files belong to a keyspace."""
    size = 0
    shares = engine.compactor.quota_state.shares
    for table in engine.view.version.tables():
        if _may_hold(table, prefix):
            known = shares.get((table.number, prefix))
            if known is None:
                known = shares[table.number, prefix] = yield from _share(table, prefix)
            size += known
    return size


def _may_hold(table: Table, prefix: bytes) -> bool:
    return table.min_key[:4] <= prefix[:4] <= table.max_key[:4]


def _share(table: Table, prefix: bytes) -> Op[int]:
    """Return the size of the blocks that may hold the keyspace, with their part of filter and index."""
    if table.min_key[:4] == table.max_key[:4]:
        return table.meta.file_bytes
    index = yield from table.load_index(keep=False)
    first = index.find(prefix[:4])
    high = successor_of_prefix(prefix[:4])
    last = len(index) - 1 if high is None else min(index.find(high), len(index) - 1)
    blocks = index.offsets[last + 1] - index.offsets[first]
    return table.meta.file_bytes * blocks // (index.offsets[-1] - index.offsets[0])


def watch_reads(engine: Engine) -> Accesses:
    """Return the access counts, which are kept from the first call on: only quotas need them."""
    if engine.compactor.quota_state.accesses is None:
        engine.compactor.quota_state.accesses = Accesses()
    with engine.lock:
        engine.view.hot.generations = engine.compactor.quota_state.accesses.generations
    return engine.compactor.quota_state.accesses


def count_written(engine: Engine, flushed: Sequence[Memtable]) -> Op[None]:
    """Count writes to keyspaces with a quota: a key that is written again after eviction is wanted."""
    catalogue = engine.view.catalogue
    if not catalogue.quotas:
        return
    accesses = watch_reads(engine)
    wanted = {prefix for name in catalogue.quotas if (prefix := catalogue.prefixes.get(name)) is not None}
    for memtable in flushed:
        written = [
            key for key, entry in memtable.entries.items() if key[:PREFIX_BYTES] in wanted and entry[0] is not None
        ]
        for i in range(0, len(written), COUNTED_EACH):
            accesses.add(written[i : i + COUNTED_EACH])
            yield PAUSE


def find_room(engine: Engine) -> Op[Victims | Merging | None]:
    """Return what to do for a keyspace that is over its quota; None if there is none, or nothing helps.

    Only for the holder of the compact lock. It also sets OVERFULL, which tells the writers of all
    processes which keyspaces are so full that writes have to wait.
    """
    view = engine.view
    full: list[tuple[str, bytes, int]] = []
    word = 0
    for name, quota in view.catalogue.quotas.items():
        prefix = view.prefix(name)
        if prefix is not None:
            used = yield from table_bytes(engine, prefix)
            if used > quota:
                full.append((name, prefix, used - int(quota * TARGET)))
            if used > quota + engine.options.memtable_bytes:
                word |= _bit(prefix)
    engine.words[OVERFULL] = word
    _forget_shares(engine)
    # Finish a merge under way first: until then, its upper tables and outputs hold the same records.
    context = PickerContext(merge=engine.compactor.manifest.tables.merge, damaged=engine.compactor.damaged)
    if full and resume(view.version, context) is not None:
        return None
    for name, prefix, needed in full:
        found = yield from _room_in(engine, name, prefix, needed)
        if found is not None:
            return found
    # Nothing can be done until something changes, so do not let writers wait for it.
    engine.words[OVERFULL] = 0
    engine.compactor.quota_state.settled = (view.version, view.catalogue)
    return None


def _forget_shares(engine: Engine) -> None:
    numbers = {table.number for table in engine.view.version.tables()}
    for known in [known for known in engine.compactor.quota_state.shares if known[0] not in numbers]:
        del engine.compactor.quota_state.shares[known]


def _room_in(engine: Engine, name: str, prefix: bytes, needed: int) -> Op[Victims | Merging | None]:
    version = engine.view.version
    if any(_may_hold(table, prefix) for table in version.levels[0]):
        merging = merge_level0(version, engine.options, PickerContext(damaged=engine.compactor.damaged))
        if merging is not None and _is_readable(engine, merging):
            return merging
    tables = [
        table
        for level in version.levels[:0:-1]
        for table in level
        if _may_hold(table, prefix) and table.number not in engine.compactor.damaged
    ]
    if engine.compactor.quota_state.fruitless_visits >= len(tables):
        # The records there are replaced or dead already. Merge down the tables that hide them.
        engine.compactor.quota_state.fruitless_visits = 0
        return next((c for t in reversed(tables) if (c := _hiding(engine, t)) is not None), None)
    tables.sort(key=lambda table: table.min_key)
    cursor = engine.compactor.quota_state.cursors.get(prefix, b"")
    first = next((i for i, table in enumerate(tables) if table.min_key > cursor), 0)
    for table in (*tables[first:], *tables[:first]):
        engine.compactor.quota_state.cursors[prefix] = table.min_key
        records = yield from _choose(engine, table, prefix, needed)
        if records:
            return Victims(name, prefix, table, records)
    return None


def _is_readable(engine: Engine, merging: Merging) -> bool:
    return not any(table.number in engine.compactor.damaged for table in merging.inputs)


def _hiding(engine: Engine, table: Table) -> Merging | None:
    """Return the merge of a table into the next level; None for a move, or if an input is damaged."""
    choice = push_down(engine.view.version, table.meta.level, table) if table.meta.level < LEVELS - 1 else None
    return choice if isinstance(choice, Merging) and _is_readable(engine, choice) else None


Candidate = tuple[tuple[bool, int, int, int], int, Victim]
"""(order, bytes, victim); those with the lowest order are evicted first"""


def _choose(engine: Engine, table: Table, prefix: bytes, needed: int) -> Op[list[Victim]]:
    """Choose the least wanted records of one table.

    First come expired records, then those that are read least often; among these, the ones that
    expire first.
    """
    view = engine.view
    accesses = watch_reads(engine)
    accesses.count()
    now_ms = engine.clock()
    candidates: list[Candidate] = []
    elements: dict[bytes, int] = {}
    source = RunSource([table], prefix[:4], successor_of_prefix(prefix[:4]), use_cache=False)
    while (page := (yield from source.next_page())) is not None:
        for key, entry in zip(*page, strict=True):
            if entry[0] is None:
                continue
            kind = key[4:PREFIX_BYTES]
            size = len(key) + len(entry[0]) + RECORD_BYTES
            if kind == KIND_KEY:
                candidates.append(_candidate(view, accesses, key, entry, size, now_ms))
            elif kind == KIND_ELEMENT:
                generation = key[PREFIX_BYTES:GENERATION_END]
                elements[generation] = elements.get(generation, 0) + size
        yield PAUSE
    for generation, size in elements.items():
        owned = yield from _collection(view, prefix, generation)
        if owned is not None:
            candidates.append(_candidate(view, accesses, *owned, size, now_ms))
    candidates.sort(key=lambda candidate: candidate[0])
    limit = min(needed, int(sum(candidate[1] for candidate in candidates) * SHARE_MAX))
    chosen: list[Victim] = []
    for order, size, victim in candidates:
        if chosen and limit <= 0 and order[0]:
            break
        chosen.append(victim)
        limit -= size
    return chosen


def _candidate(view: View, accesses: Accesses, key: bytes, entry: Entry, size: int, now_ms: int) -> Candidate:
    key_hash = hash_key(key)
    # The current generations of the hot records are not counted yet.
    reads = accesses.of(key_hash) + (1 if key in view.hot else 0)
    value, expires_ms = entry[0], entry[1]
    order = (not has_expired(expires_ms, now_ms), reads, expires_ms or NEVER, key_hash)
    return order, size, (key[PREFIX_BYTES:], expires_ms, hash(value))


def _collection(view: View, prefix: bytes, generation: bytes) -> Op[tuple[bytes, Entry] | None]:
    """Return the internal key and the record of a generation's root; None if the generation is dead."""
    owner = yield from read_entry(view, prefix[:4] + KIND_OWNER + generation)
    if owner is None or owner[0] is None:
        return None
    key = prefix + owner[0]
    entry: Entry | None = yield from read_entry(view, key)
    if entry is None or entry[0].__class__ is not Root:
        return None
    return (key, entry) if decode_root(entry[0]).generation == int.from_bytes(generation, "big") else None


def evict(tx: Transaction, prefix: bytes, victims: Sequence[Victim], counters: Counters) -> list[bytes]:
    """Delete the victims that have not changed since they were chosen.

    Returns the internal keys that are gone now. Does nothing if the keyspace was cleared or has no
    quota any more.
    """
    if tx.prefix != prefix or not tx.quota:
        return []
    gone: list[bytes] = []
    for key, expires_ms, value_hash in victims:
        found = tx.get(key)
        if found is None or (found[1] == expires_ms and hash(found[0]) == value_hash):
            # An expired record gets a tombstone, too, so that nothing older appears when it leaves its table.
            tx.delete(key)
            counters.evicted += found is not None
            gone.append(prefix + key)
    return gone


def make_room(engine: Engine, found: Victims | Merging, gone: frozenset[bytes]) -> Op[None]:
    """Carry out what `find_room` returned, after the victims in `gone` were durably deleted.

    Only for the holder of the compact lock.
    """
    survivors = Survivors(engine.certain_ms(), engine.view.catalogue)
    if isinstance(found, Merging):
        yield from run_merge(engine, found, survivors)
        return
    if not gone:
        engine.compactor.quota_state.fruitless_visits += 1
        return
    engine.compactor.quota_state.fruitless_visits = 0
    quota = engine.view.catalogue.quotas.get(found.keyspace, 0)
    before = yield from table_bytes(engine, found.prefix)
    survivors.gone = gone
    yield from run_merge(engine, rewriting(found.table), survivors)
    engine.compactor.quota_state.evicted_bytes += max(0, before - (yield from table_bytes(engine, found.prefix)))
    # Let old accesses weigh less: halve the counts each time that TURNOVERS times the quota was evicted.
    if engine.compactor.quota_state.evicted_bytes > TURNOVERS * quota:
        engine.compactor.quota_state.evicted_bytes = 0
        watch_reads(engine).halve()
