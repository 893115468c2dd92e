"""What compaction chooses and what it leaves, on tables small enough to draw."""

from __future__ import annotations

import errno
import gc
from contextlib import suppress

import pytest

from ferrokv.errors import CorruptionError, StoreFailed, StoreFull
from ferrokv.local.commands import keys
from ferrokv.local.compaction.picker import Drop, Merging, Move, PickerContext, pick
from ferrokv.local.compaction.survivors import Survivors
from ferrokv.local.engine.manifest import ROLL_BYTES
from ferrokv.local.storage.requests import ReadAt, Request, WriteAt
from ferrokv.local.tree.table import Table
from ferrokv.testing.simulated import SimulatedStorage

from ..support.harness import TINY, EngineHarness, ManualClock

HOUR = 3_600_000


@pytest.fixture
def store() -> EngineHarness:
    return EngineHarness(SimulatedStorage(1), ManualClock(), TINY._replace(memtable_bytes=100_000, level0_tables=9))


def put(store: EngineHarness, names: str, ttl_ms: int | None = None) -> None:
    """One table of level 0 with a record for each letter."""
    for name in names:
        store.set(name.encode(), b"v" * 10, ttl_ms)
    store.rotate()
    store.flush()


def choice(store: EngineHarness, **changes: int) -> object:
    view = store.engine.view
    survivors = Survivors(store.clock(), view.catalogue)
    return pick(
        view.version, store.options._replace(**changes), survivors, PickerContext(store.engine.compactor.cursors)
    )


def picture(store: EngineHarness) -> list[str]:
    """The levels, each table as the letters of its keys."""
    prefix = store.engine.view.prefix("default") or b""
    drawn = []
    for number, level in enumerate(store.engine.view.version.levels):
        if level:
            shown = " ".join(f"{t.min_key[-1:].decode()}-{t.max_key[-1:].decode()}:{t.meta.records}" for t in level)
            drawn.append(f"L{number} {shown}")
    assert prefix
    return drawn


def test_nothing_is_due_in_a_small_store(store: EngineHarness) -> None:
    put(store, "abc")
    assert choice(store) is None


def test_level_0_goes_down_when_it_has_many_tables(store: EngineHarness) -> None:
    put(store, "abc")
    put(store, "bcd")
    put(store, "xyz")
    chosen = choice(store, level0_tables=3)
    assert isinstance(chosen, Merging)
    assert (chosen.level, len(chosen.upper), chosen.lower) == (0, 3, ())
    store.options = store.engine.options = store.options._replace(level0_tables=3)
    store.compact()
    assert len(picture(store)) == 1
    assert [key for key, _ in store.scan()] == [bytes([c]) for c in b"abcdxyz"]


def test_a_table_that_has_wholly_expired_is_dropped_unread(store: EngineHarness) -> None:
    put(store, "a")  # the catalogue's own records live in this one, below the key
    put(store, "xyz", ttl_ms=1_000)
    dead = store.engine.view.version.levels[0][0].name
    store.clock.now_ms += HOUR
    assert isinstance(choice(store), Drop)

    def unread(index: int, request: Request) -> None:
        assert not (isinstance(request, ReadAt) and request.file.name == dead)

    store.storage.observe = unread
    store.compact()
    assert dead not in store.storage.machine.names
    assert store.engine.counters.tables_dropped_unread == 1
    assert [key for key, _ in store.scan()] == [b"a"]


def test_an_expired_table_that_hides_an_older_version_stays(store: EngineHarness) -> None:
    put(store, "ab")
    put(store, "ab", ttl_ms=1_000)
    store.clock.now_ms += HOUR
    assert choice(store) is None
    assert store.scan() == []
    store.compact(everything=True)
    assert store.scan() == []
    assert store.engine.view.version.tables()[0].meta.records == 2, "only the catalogue is left"


def test_a_cleared_keyspace_gives_its_tables_back_unread(store: EngineHarness) -> None:
    put(store, "q")
    store.write(keys.clear)
    put(store, "abc")
    store.write(keys.clear)
    store.rotate()
    store.flush()
    assert store.scan() == []
    store.compact(everything=True)
    tables = store.engine.view.version.tables()
    assert sum(table.meta.records for table in tables) == 2, "only the catalogue is left"


def test_a_table_without_overlap_below_moves_by_an_edit_alone(store: EngineHarness) -> None:
    put(store, "abc")
    store.compact(everything=True)
    assert [line[:2] for line in picture(store)] == ["L1"]
    chosen = choice(store, level1_bytes=1)
    assert isinstance(chosen, Move)
    store.engine.options = store.options._replace(level1_bytes=1)
    store.engine.compactor.sweep_looks_left = (
        0  # at tables that may be full of dead elements, which reads their indexes
    )
    reads: list[Request] = []
    store.storage.observe = lambda index, request: reads.append(request) if isinstance(request, ReadAt) else None
    before = set(store.storage.machine.names)
    while isinstance(choice(store, level1_bytes=1), Move):
        store.compact()
    assert {n for n in store.storage.machine.names if n.startswith("table")} == {
        n for n in before if n.startswith("table")
    }
    assert reads == []
    store.storage.observe = None
    assert [key for key, _ in store.scan()] == [b"a", b"b", b"c"]


@pytest.mark.parametrize("roll_bytes", [1, ROLL_BYTES])
@pytest.mark.parametrize("first", range(12))
def test_a_move_that_finds_no_space_keeps_its_table(
    first: int, roll_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its edit names a table that is there already: that is none of the files that a failed compaction leaves to be removed."""
    monkeypatch.setattr("ferrokv.local.compaction.install.ROLL_BYTES", roll_bytes)
    for second in range(first, 24):
        storage = SimulatedStorage(1)
        store = EngineHarness(storage, ManualClock(), TINY._replace(memtable_bytes=100_000, level0_tables=9))
        put(store, "abc")
        store.compact(everything=True)
        store.engine.options = store.options._replace(level1_bytes=1)
        assert isinstance(choice(store, level1_bytes=1), Move)
        began = storage.requests

        def fail(index: int, request: Request, began: int = began, second: int = second) -> None:
            if index - began in (first, second):
                raise OSError(errno.ENOSPC, "injected")

        storage.observe = fail
        for _ in range(4):
            with suppress(StoreFull, StoreFailed, OSError):  # the last when a file could not be opened or read
                store.compact()
        storage.observe = None
        assert [key for key, _ in store.reopen().scan()] == [b"a", b"b", b"c"]


def fail_next_edit(store: EngineHarness, *, wholly_written: bool = False) -> None:
    """The next write to the manifest finds no space, perhaps with all of it in the file; then all is well again."""
    storage = store.storage

    def fail(index: int, request: Request) -> None:
        if isinstance(request, WriteAt) and request.file.name.startswith("manifest") and request.offset:
            storage.observe = None
            if wholly_written:
                storage.perform(request)
            raise OSError(errno.ENOSPC, "injected")

    storage.observe = fail


@pytest.mark.parametrize("wholly_written", [False, True])
def test_a_flush_whose_edit_failed_keeps_what_it_flushed(store: EngineHarness, wholly_written: bool) -> None:
    put(store, "abc")
    store.set(b"d", b"v")
    store.rotate()
    fail_next_edit(store, wholly_written=wholly_written)
    with pytest.raises(StoreFull):
        store.flush()
    store.flush()
    store.set(b"e", b"v")
    assert [key for key, _ in store.scan()] == [b"a", b"b", b"c", b"d", b"e"]
    assert [key for key, _ in store.reopen().scan()] == [b"a", b"b", b"c", b"d", b"e"]


def test_tables_of_another_process_are_not_removed_with_the_rest_of_a_failed_flush(store: EngineHarness) -> None:
    """The other one has cleaned up, and its next table has the number of the one that failed here."""
    other = EngineHarness(SimulatedStorage(2, shares=store.storage), store.clock, store.options)
    put(store, "a")
    for name in (b"b", b"d"):
        store.set(name, b"v")
        store.rotate()
        fail_next_edit(store)
        with pytest.raises(StoreFull):
            store.flush()
        if name == b"b":
            put(other, "c")
    store.flush()
    assert [key for key, _ in store.scan()] == [b"a", b"b", b"c", b"d"]
    store.storage.close()
    assert [key for key, _ in other.reopen().scan()] == [b"a", b"b", b"c", b"d"]


def test_a_missing_table_is_named_by_who_follows_and_not_waited_for(store: EngineHarness) -> None:
    other = EngineHarness(SimulatedStorage(2, shares=store.storage), store.clock, store.options)
    put(other, "a")
    (name,) = (name for name in store.storage.machine.names if name.startswith("table"))
    del store.storage.machine.names[name]
    store.refresh()
    assert store.get(b"b") is None
    for _ in range(2):
        with pytest.raises(CorruptionError, match=name):
            store.get(b"a")
    with pytest.raises(CorruptionError, match=name):
        EngineHarness(SimulatedStorage(3, shares=store.storage), store.clock, store.options)


def test_an_expired_record_above_older_tables_becomes_a_tombstone(store: EngineHarness) -> None:
    put(store, "abc")
    store.compact(everything=True)
    store.engine.options = store.options._replace(level1_bytes=1)
    store.compact()
    store.engine.options = store.options
    put(store, "bx", ttl_ms=1_000)
    store.clock.now_ms += HOUR
    store.engine.options = store.options._replace(level0_tables=1)
    put(store, "y")
    store.compact()
    assert [key for key, _ in store.scan()] == [b"a", b"c", b"y"]
    store.check()
    assert store.reopen().get(b"b") is None


def test_a_merge_lets_go_of_its_inputs_without_the_garbage_collector(store: EngineHarness) -> None:
    """Their files are removed, but the space comes back only when nobody has them open."""
    for _ in range(6):
        put(store, "abc")
    gc.collect()
    gc.disable()
    try:
        store.compact(everything=True)
        cache = store.engine.block_cache
        # By `type`: `isinstance` asks an object for its class, and a lazy one of another test may not be able to say.
        known = [found.number for found in gc.get_objects() if type(found) is Table and found._cache is cache]
    finally:
        gc.enable()
    assert sorted(known) == sorted(table.number for table in store.engine.view.version.tables())
