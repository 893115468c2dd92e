"""An engine without threads on a simulated disk, and the model that it is held against."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from ferrokv.errors import StoreBusy, StoreFull
from ferrokv.local.commands import counters, expiry, keys, strings
from ferrokv.local.compaction.compaction import compact_once, sweep_everything
from ferrokv.local.compaction.dead_generations import drop_expired, take_expired_roots
from ferrokv.local.compaction.flush import flush
from ferrokv.local.compaction.holder import begin_compacting, end_compacting
from ferrokv.local.engine.engine import Engine
from ferrokv.local.format.keys import successor_of_prefix
from ferrokv.local.log.commit import append, make_durable, rotate, rotation_due
from ferrokv.local.log.pins import find_newest, pin_view
from ferrokv.local.log.replica import catch_up, refresh
from ferrokv.local.log.transaction import Group
from ferrokv.local.log.writing import begin_writing
from ferrokv.local.opening.opening import open_engine
from ferrokv.local.storage.drivers import complete
from ferrokv.local.tree.read import live, read_entry
from ferrokv.local.tree.scan import Scan
from ferrokv.local.tree.view import View
from ferrokv.local.upkeep.invariants import check_invariants
from ferrokv.options import Options
from ferrokv.testing.simulated import SimulatedStorage

SCALE = 50 if os.environ.get("FERROKV_TORTURE") else 1  # `make torture` runs so many times as many cases

TINY = Options(
    memtable_bytes=600,
    sealed_memtables_max=3,
    table_bytes=400,
    block_bytes=100,
    level0_tables=2,
    level1_bytes=800,
    block_cache_bytes=2000,
    hot_cache_bytes=2000,
    open_tables_max=2,
)

State = dict[bytes, tuple[bytes, int]]
"""key -> (value, expires_ms or 0), live keys only"""


class ManualClock:
    """Time that stands still until it is told. `step_ms` is how far the wall clock was set ahead, without time passing."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self.now_ms = now_ms
        self.step_ms = 0

    def __call__(self) -> int:
        return self.now_ms + self.step_ms

    def steady(self) -> int:
        return self.now_ms - 1_600_000_000_000


class EngineHarness:
    """One keyspace of one engine, driven request by request in the calling thread."""

    def __init__(
        self, storage: SimulatedStorage, clock: ManualClock, options: Options = TINY, keyspace: str = "default"
    ) -> None:
        self.storage = storage
        self.clock = clock
        self.options = options
        self.keyspace = keyspace
        self.engine: Engine = complete(open_engine(storage, options, clock), storage)

    def write(self, command: Callable[..., Any], *args: Any, keyspace: str | None = None) -> Any:
        """Run a command as a group of its own; rotate when that is due."""
        engine = self.engine
        with self.writing():
            group = Group(engine)
            answer = group.run(command, keyspace or self.keyspace, args)
            if group.changes:
                append(engine, group.changes, group.changes.catalogue)
            wal, appended = engine.wal, engine.appended
        make_durable(engine, wal, appended)
        complete(catch_up(engine), self.storage)
        if rotation_due(engine):
            self.rotate_if_due()
        return answer

    def rotate_if_due(self) -> None:
        """As the writer does behind a commit, which stands whatever comes of this."""
        with suppress(StoreBusy, StoreFull), self.writing():
            if rotation_due(self.engine):
                rotate(self.engine)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """The write lock, held for one turn."""
        try:
            begin_writing(self.engine, 1.0)
            yield
        finally:
            self.engine.unlock_write()

    @contextmanager
    def compacting(self) -> Iterator[None]:
        """The compact lock, held for one turn."""
        try:
            if not complete(begin_compacting(self.engine, 1.0), self.storage):
                raise StoreBusy("another process has the compact lock")
            yield
            end_compacting(self.engine)
        finally:
            self.engine.unlock_compact()

    def set(self, key: bytes, value: bytes, ttl_ms: int | None = None) -> None:
        self.write(strings.write_many, [(key, value, ttl_ms)])

    def delete(self, *names: bytes) -> int:
        return self.write(keys.delete, names)

    def incr(self, key: bytes, amount: int = 1) -> int:
        return self.write(counters.increment, key, amount, False)

    def expire(self, key: bytes, ttl_ms: int) -> bool:
        return self.write(expiry.expire, key, ttl_ms, (False, False, False, False), "pexpire")

    def rotate(self) -> None:
        with self.writing():
            rotate(self.engine)

    def flush(self) -> bool:
        with self.compacting():
            return complete(flush(self.engine), self.storage)

    def compact(self, *, everything: bool = False) -> None:
        with self.compacting():
            while complete(compact_once(self.engine, everything=everything), self.storage):
                pass
            if everything:
                complete(sweep_everything(self.engine), self.storage)
        for keyspace, expired in take_expired_roots(self.engine).items():
            self.write(drop_expired, expired, keyspace=keyspace)

    def refresh(self) -> None:
        """Take over what others have flushed and compacted."""
        complete(refresh(self.engine), self.storage)

    def get(self, key: bytes, view: View | None = None) -> bytes | None:
        live_view = view is None
        if view is None:
            complete(catch_up(self.engine), self.storage)
        view = view or self.engine.view
        prefix = view.prefix(self.keyspace)
        if prefix is None:
            return None
        if live_view:
            return complete(find_newest(self.engine, self.keyspace, key), self.storage)
        entry = complete(read_entry(view, prefix + key), self.storage)
        return entry[0] if entry is not None and live(entry, self.clock()) else None

    def scan(self, view: View | None = None, *, reverse: bool = False) -> list[tuple[bytes, bytes]]:
        own = None if view else self.pin()
        view = view or own
        assert view is not None
        prefix = view.prefix(self.keyspace)
        pairs: list[tuple[bytes, bytes]] = []
        if prefix is not None:
            scan = Scan(view, prefix, successor_of_prefix(prefix), self.clock, reverse=reverse)
            while (page := complete(scan.next_page(len(prefix)), self.storage)) is not None:
                pairs.extend(page)
        if own is not None:
            own.unpin()
        return pairs

    def pin(self) -> View:
        """The newest view with its tables, as a snapshot takes it."""
        complete(catch_up(self.engine), self.storage)
        return complete(pin_view(self.engine), self.storage)

    def state(self) -> State:
        """Every live key with its value and expiry, by point reads of what a scan finds."""
        found: State = {}
        view = self.pin()
        prefix = view.prefix(self.keyspace)
        for key, value in self.scan(view):
            assert prefix is not None
            entry = complete(read_entry(view, prefix + key), self.storage)
            assert entry is not None
            assert entry[0] == value, "scan and point read disagree"
            found[key] = (value, entry[1])
        view.unpin()
        return found

    def check(self) -> None:
        complete(check_invariants(self.engine), self.storage)

    def reopen(self) -> EngineHarness:
        """The store opened again, as after a clean end."""
        self.storage.close()
        return EngineHarness(self.storage, self.clock, self.options, self.keyspace)
