"""The mistakes of the Rust original, each turned around into a promise (numbers: the list in the project's style guide)."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from ferrokv import BlockingFerroKV, ResponseError
from ferrokv.local.storage.requests import Request, WriteAt
from ferrokv.testing.simulated import SimulatedStorage

from ..support.harness import TINY, EngineHarness, ManualClock


@pytest.fixture
def store() -> EngineHarness:
    return EngineHarness(SimulatedStorage(1), ManualClock())


def flushed(store: EngineHarness) -> None:
    store.rotate()
    assert store.flush()


def test_1_level_0_wins_over_level_1_after_reopening(store: EngineHarness) -> None:
    store.set(b"k", b"old")
    flushed(store)
    store.compact(everything=True)
    store.set(b"k", b"new")
    flushed(store)
    levels = store.engine.view.version.levels
    assert levels[0]
    assert levels[1]
    assert store.reopen().get(b"k") == b"new"


@pytest.mark.parametrize("how", ["delete", "expire"])
def test_2_a_tombstone_or_expired_record_in_a_table_hides_older_tables(store: EngineHarness, how: str) -> None:
    store.set(b"k", b"old")
    flushed(store)
    if how == "delete":
        store.delete(b"k")
    else:
        store.set(b"k", b"brief", 1_000)
        store.clock.now_ms += 1_000
    flushed(store)
    assert len(store.engine.view.version.levels[0]) == 2
    assert store.get(b"k") is None
    assert store.scan() == []
    store = store.reopen()
    assert store.get(b"k") is None
    store.clock.now_ms += 10_000_000
    store.compact(everything=True)
    assert store.get(b"k") is None


def test_3_the_newest_of_equal_keys_survives_every_merge(store: EngineHarness) -> None:
    for i in range(6):
        store.set(b"k", b"%d" % i)
        flushed(store)
    store.compact(everything=True)
    assert store.get(b"k") == b"5"
    assert store.scan() == [(b"k", b"5")]


def test_4_a_tombstone_is_kept_while_a_deeper_table_has_the_key() -> None:
    store = EngineHarness(SimulatedStorage(1), ManualClock(), TINY._replace(level1_bytes=200, table_bytes=120))
    for i in range(40):
        store.set(b"key:%02d" % i, b"v" * 20)
        if i % 8 == 7:
            flushed(store)
            store.compact()
    assert any(store.engine.view.version.levels[2:])
    for i in range(0, 40, 3):
        store.delete(b"key:%02d" % i)
        flushed(store)
        store.compact()
        found = [key for key, _ in store.scan()]
        assert found == [b"key:%02d" % j for j in range(40) if j % 3 or j > i]
    store.check()


def test_5_writes_during_a_flush_are_kept(db: BlockingFerroKV) -> None:
    stop = threading.Event()
    written: list[int] = []

    def write() -> None:
        i = 0
        while not stop.is_set():
            db.set(f"key:{i}", i)
            written.append(i)
            i += 1

    writer = threading.Thread(target=write)
    writer.start()
    flushes = 0
    while flushes < 10 or len(written) <= 10:
        db.flush()
        flushes += 1
    stop.set()
    writer.join()
    assert all(db.get(f"key:{i}") == b"%d" % i for i in written)


def test_6_memory_follows_the_order_of_the_log(store_path: Path) -> None:
    with BlockingFerroKV.open(store_path) as db:

        def write(name: int) -> None:
            for i in range(50):
                db.set("k", f"{name}:{i}")

        threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        in_memory = db.get("k")
    with BlockingFerroKV.open(store_path) as db:
        assert db.get("k") == in_memory


@pytest.mark.usefixtures("standing_clock")
def test_7_incr_is_atomic_with_set_keeps_the_ttl_and_refuses_what_is_no_number(db: BlockingFerroKV) -> None:
    def count() -> None:
        for _ in range(100):
            db.incr("n")

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert db.get("n") == b"400"
    db.set("n", "many", ex=50)
    with pytest.raises(ResponseError):
        db.incr("n")
    db.set("n", 1, ex=50)
    db.incr("n")
    assert db.ttl("n") == 50


def test_8_expiry_is_exact_and_forgets_a_ttl_that_was_replaced(store: EngineHarness) -> None:
    store.set(b"k", b"v", 100)
    store.clock.now_ms += 99
    assert store.get(b"k") == b"v"
    store.clock.now_ms += 1
    assert store.get(b"k") is None
    store.set(b"k", b"v", 100)
    store.set(b"k", b"w")
    store.clock.now_ms += 1_000
    assert store.get(b"k") == b"w"
    # The same moment counts in memtables, tables and scans.
    store.set(b"t", b"v", 100)
    flushed(store)
    store.clock.now_ms += 99
    assert store.get(b"t") == b"v"
    store.clock.now_ms += 1
    assert store.get(b"t") is None
    assert store.scan() == [(b"k", b"w")]


def test_9_history_is_in_the_manifest_and_a_number_never_comes_again(store: EngineHarness) -> None:
    seen: set[str] = set()

    def note(index: int, request: Request) -> None:
        if isinstance(request, WriteAt) and request.offset == 0 and request.file.name != "CURRENT.new":
            assert request.file.name not in seen
            seen.add(request.file.name)

    store.storage.observe = note
    for round_ in range(6):
        for i in range(5):
            store.set(b"key:%d" % i, b"%d" % round_)
        flushed(store)
        store.compact()
        store.engine.clock()
        store = store.reopen()
    assert len(seen) > 15


def test_a_hot_record_leaves_the_cache_when_a_flush_replaces_it(store: EngineHarness) -> None:
    store.set(b"k", b"old")
    flushed(store)
    assert store.get(b"k") == b"old"  # now hot
    store.set(b"k", b"new")
    flushed(store)
    assert store.get(b"k") == b"new"


def test_no_thread_is_left_and_the_directory_is_free_after_close(store_path: Path) -> None:
    before = threading.active_count()
    for _ in range(3):
        with BlockingFerroKV.open(store_path) as db:
            db.set("k", "v")
    assert threading.active_count() == before
