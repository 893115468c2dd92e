"""Keyspaces: their figures, and the quotas that they may carry."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ferrokv import BlockingFerroKV, DataError, StoreBusy
from ferrokv.local.commands import hashes, keyspaces, lists, strings
from ferrokv.local.compaction.compaction import _carry_out, compact_once
from ferrokv.local.compaction.picker import Move
from ferrokv.local.compaction.survivors import Survivors
from ferrokv.local.engine.accesses import COUNT_MAX, Accesses
from ferrokv.local.engine.engine import Engine
from ferrokv.local.format.checksums import hash_key
from ferrokv.local.format.control import COMPACTOR, OVERFULL
from ferrokv.local.log.transaction import Group, Transaction
from ferrokv.local.runtime import room
from ferrokv.local.storage.drivers import complete
from ferrokv.local.upkeep.quotas import (
    Victims,
    count_written,
    evict,
    find_room,
    flush_for_quota,
    make_room,
    quota_due,
    tables_changed,
    watch_reads,
)
from ferrokv.testing.simulated import SimulatedStorage

from ..support.harness import TINY, EngineHarness, ManualClock
from ..support.peer import Peer

SMALL = TINY._replace(memtable_bytes=1 << 20, table_bytes=4000, level1_bytes=1 << 20, level0_tables=4)


@pytest.fixture
def store() -> EngineHarness:
    return EngineHarness(SimulatedStorage(1), ManualClock(), SMALL)


def settle(store: EngineHarness) -> None:
    """Flush, and make room until nothing is left to do, as the background thread does."""
    store.rotate()
    store.flush()
    engine = store.engine
    with store.compacting():
        for _ in range(100):
            found = complete(find_room(engine), store.storage)
            if found is None:
                if not complete(compact_once(engine), store.storage):
                    return
                continue
            gone: list[bytes] = []
            if isinstance(found, Victims):
                gone = store.write(evict, found.prefix, found.records, engine.counters, keyspace=found.keyspace)
            complete(make_room(engine, found, frozenset(gone)), store.storage)
    pytest.fail("there is no end to it")


def used(store: EngineHarness) -> int:
    """Bytes of all tables."""
    return sum(table.meta.file_bytes for table in store.engine.view.version.tables())


def test_a_keyspace_shrinks_to_its_quota_on_disk_at_once(store: EngineHarness) -> None:
    for i in range(400):
        store.set(b"k%04d" % i, b"v" * 100)
    store.write(keyspaces.set_quota, 20_000)
    settle(store)
    assert used(store) <= 20_000
    left = [i for i in range(400) if store.get(b"k%04d" % i) is not None]
    assert len(left) >= 100, "no more goes than has to"
    assert store.engine.counters.evicted == 400 - len(left)
    with store.compacting():
        assert complete(find_room(store.engine), store.storage) is None
    assert not tables_changed(store.engine)
    assert store.reopen().get(b"k%04d" % left[0]) is not None


def test_of_one_table_what_has_expired_goes_first_and_then_who_expires_next() -> None:
    store = EngineHarness(SimulatedStorage(1), ManualClock(), SMALL._replace(table_bytes=1 << 20))
    for i in range(100):
        store.set(b"plain:%03d" % i, b"v" * 100)
        store.set(b"timed:%03d" % i, b"v" * 100, 1_000_000 + 1000 * (i * 37 % 100))
        store.set(b"short:%03d" % i, b"v" * 100, 1000)
    store.clock.now_ms += 2000
    store.write(keyspaces.set_quota, 45_000)
    settle(store)
    assert store.engine.counters.evicted == 0, "room that the dead took was enough"
    store.write(keyspaces.set_quota, 32_000)
    settle(store)
    assert all(store.get(b"plain:%03d" % i) for i in range(100))
    left = [i * 37 % 100 for i in range(100) if store.get(b"timed:%03d" % i) is not None]
    assert 20 < len(left) < 90
    assert sorted(left) == list(range(100 - len(left), 100))


def test_who_is_read_stays(store: EngineHarness) -> None:
    for i in range(400):
        store.set(b"k%04d" % i, b"v" * 100)
    store.rotate()
    store.flush()
    store.compact()
    accesses = watch_reads(store.engine)
    wanted = [b"k%04d" % i for i in range(0, 400, 8)]
    for _ in range(8):
        for key in wanted:
            assert store.get(key) is not None
        assert accesses.generations
        accesses.count()
    store.write(keyspaces.set_quota, 16_000)
    settle(store)
    assert store.engine.counters.evicted >= 200
    assert all(store.get(key) is not None for key in wanted)


def test_what_was_counted_loses_weight() -> None:
    accesses = Accesses()
    accesses.add([b"k"] * 40)
    assert accesses.of(hash_key(b"k")) == COUNT_MAX
    accesses.halve()
    assert (accesses.of(hash_key(b"k")), accesses.of(hash_key(b"l"))) == (COUNT_MAX // 2, 0)


def test_a_collection_goes_as_a_whole(store: EngineHarness) -> None:
    for name in range(20):
        store.write(lists.push, b"list%d" % name, [b"v" * 50] * 40, False, False)
    store.write(keyspaces.set_quota, 40_000)
    settle(store)
    assert used(store) <= 40_000
    left = [name for name in range(20) if store.get(b"list%d" % name) is not None]
    assert 0 < len(left) < 20
    for name in left:
        with store.writing():
            assert len(complete(lists.slice_of(transaction(store), b"list%d" % name, 0, -1), store.storage)) == 40


def transaction(store: EngineHarness) -> Transaction:
    group = Group(store.engine)
    return Transaction(group, store.keyspace, group.changes, (group.base,))


def test_another_keyspace_loses_nothing_and_does_not_count(store: EngineHarness) -> None:
    for i in range(200):
        store.write(strings.set_value, b"k%04d" % i, b"v" * 100, strings.PLAIN, keyspace="kept")
        store.set(b"k%04d" % i, b"v" * 100)
    store.write(keyspaces.set_quota, 10_000)
    settle(store)
    assert len([i for i in range(200) if store.get(b"k%04d" % i) is not None]) >= 50
    for i in range(200):
        with store.writing():
            assert transaction(store).inside("kept").get(b"k%04d" % i) is not None


def test_a_value_that_was_replaced_does_not_come_back(store: EngineHarness) -> None:
    """A record that leaves its table must not uncover an older one below."""
    for i in range(100):
        store.set(b"k%04d" % i, b"old" * 30)
    settle(store)
    store.compact(everything=True)
    for level in (1, 2):
        with store.compacting():
            for table in store.engine.view.version.levels[level]:
                complete(_carry_out(store.engine, Move(table, level + 1), _survivors(store)), store.storage)
    for i in range(0, 100, 2):
        store.set(b"k%04d" % i, b"new" * 30)
    store.write(keyspaces.set_quota, 6_000)
    settle(store)
    for i in range(100):
        assert store.get(b"k%04d" % i) in ((None, b"new" * 30) if i % 2 == 0 else (None, b"old" * 30))
    again = store.reopen()
    for i in range(0, 100, 2):
        assert again.get(b"k%04d" % i) != b"old" * 30


def _survivors(store: EngineHarness) -> Survivors:
    return Survivors(store.engine.certain_ms(), store.engine.view.catalogue)


@pytest.mark.parametrize("change", ["quota taken away", "cleared", "written again"])
def test_who_was_chosen_stays_if_the_keyspace_has_changed(store: EngineHarness, change: str) -> None:
    store.set(b"k", b"v" * 900)
    store.set(b"l", b"v" * 900)
    store.write(keyspaces.set_quota, 1000)
    store.rotate()
    store.flush()
    store.compact(everything=True)
    with store.compacting():
        found = complete(find_room(store.engine), store.storage)
    assert isinstance(found, Victims)
    (key,) = [key for key, _, _ in found.records]
    if change == "quota taken away":
        store.write(keyspaces.set_quota, None)
    elif change == "cleared":
        store.write(lambda tx: tx.clear_keyspace())
        store.set(key, b"v" * 900)
    else:
        store.set(key, b"w" * 900)
    assert store.write(evict, found.prefix, found.records, store.engine.counters) == []
    assert store.get(key) is not None
    assert store.engine.counters.evicted == 0


@pytest.mark.parametrize("kind", ["string", "element", "field"])
def test_a_value_larger_than_the_quota_is_refused_by_name(store: EngineHarness, kind: str) -> None:
    store.set(b"neighbour", b"v" * 900)
    store.write(keyspaces.set_quota, 1000)
    large = b"v" * 1001
    writes: dict[str, Callable[[], object]] = {
        "string": lambda: store.set(b"k", large),
        "element": lambda: store.write(lists.push, b"l", [large], False, False),
        "field": lambda: store.write(hashes.set_fields, b"h", [(b"f", large)]),
    }
    with pytest.raises(DataError, match="larger than the quota of its keyspace: bytes=1001 quota=1000"):
        writes[kind]()
    store.set(b"k", b"v" * 1000)
    assert store.get(b"neighbour") is not None


def test_only_writers_of_a_keyspace_that_is_too_full_wait(store_path: Path) -> None:
    """They wait for eviction, others and what makes room do not; when nothing is evicted in time they are told by name."""
    with BlockingFerroKV.open(store_path, keyspace="cache", busy_timeout=0.1) as cache, cache.keyspace("kept") as kept:
        kept.set("k", 1)
        cache.set_quota(100_000)
        cache.set("k", 1)
        engine = cache._store.engine
        engine.unlock_compact()
        with Peer(store_path, keyspace="cache"):
            prefix = engine.view.prefix("cache")
            assert prefix is not None
            hold = fcntl_lock(store_path / "compact.lock")  # so that nobody finds out that there is room
            try:
                engine.words[OVERFULL] = 1 << int.from_bytes(prefix[:4], "big") % 64
                with pytest.raises(StoreBusy, match="over its quota"):
                    cache.set("k", 2)
                assert kept.set("k", 2) is True
                assert cache.get("k") == b"1"
            finally:
                hold.close()
            assert cache.set("k", 3) is True, "the compactor sees that there is room"


def fcntl_lock(path: Path) -> Any:
    file = path.open("r+b")
    fcntl.flock(file, fcntl.LOCK_EX)
    return file


def test_the_directory_stays_small_at_any_rate(store_path: Path) -> None:
    options = {"memtable_bytes": 256 << 10, "table_bytes": 512 << 10}
    quota = 1 << 20
    bound = 2 * quota + 10 * (256 << 10)
    peaks: list[int] = []
    with (
        BlockingFerroKV.open(store_path, keyspace="cache", **options) as cache,
        Peer(store_path, keyspace="cache", **options) as peer,
    ):
        cache.set_quota(quota)
        for i in range(1000):
            (cache.set if i % 2 else partial(peer.call, "set"))(f"k{i}", "v" * 20_000)
            if i % 10 == 0:
                peaks.append(bytes_in(store_path))
        assert cache.stats().records_evicted + peer.call("stats")["records_evicted"] > 800
        assert cache.exists("k999") == 1
    assert max(peaks) <= bound, (max(peaks), bound)


def bytes_in(path: Path) -> int:
    """Of all files but the control page, while others make and remove some."""
    size = 0
    for file in path.iterdir():
        with suppress(FileNotFoundError):
            size += file.stat().st_size if file.name != "control" else 0
    return size


def test_what_comes_again_after_it_was_evicted_is_wanted(store: EngineHarness) -> None:
    store.write(keyspaces.set_quota, 1 << 20)
    accesses = watch_reads(store.engine)
    for _ in range(3):
        store.set(b"k", b"v")
        store.write(strings.set_value, b"k", b"v", strings.PLAIN, keyspace="other")
        store.rotate()
        sealed = store.engine.view.sealed
        store.flush()
        complete(count_written(store.engine, sealed), store.storage)
    prefix = store.engine.view.prefix("default")
    other = store.engine.view.prefix("other")
    assert prefix is not None
    assert other is not None
    assert (accesses.of(hash_key(prefix + b"k")), accesses.of(hash_key(other + b"k"))) == (3, 0)


def test_a_quota_is_kept_by_name_and_survives_clearing_and_reopening(store: EngineHarness) -> None:
    store.write(keyspaces.set_quota, 12_345)
    store.write(keyspaces.set_quota, 777, keyspace="other")
    store.set(b"k", b"v")
    store.write(strings.set_value, b"k", b"v", strings.PLAIN, keyspace="other")
    store.write(lambda tx: tx.clear_keyspace())
    store.rotate()
    store.flush()
    store = store.reopen()
    assert store.engine.view.catalogue.quotas == {"default": 12_345, "other": 777}
    store.write(keyspaces.set_quota, None)
    store = store.reopen()
    assert store.engine.view.catalogue.quotas == {"other": 777}
    assert quota_due(store.engine)
    with store.compacting():
        assert not complete(flush_for_quota(store.engine, idle=True), store.storage)
    assert not quota_due(store.engine)


def test_a_keyspace_with_a_quota_is_kept_small_and_no_other_loses_anything(store_path: Path) -> None:
    with (
        BlockingFerroKV.open(store_path, keyspace="cache") as cache,
        cache.keyspace("kept") as kept,
        Peer(store_path, keyspace="cache") as peer,
    ):
        for i in range(200):
            kept.set(f"k{i}", "v" * 500, ex=1000)
        cache.set_quota(200_000)
        peer.call("get", "warm")
        for i in range(1500):
            cache.set(f"c{i}", "v" * 500, ex=10_000 + i)
        deadline = time.monotonic() + 30
        while (found := cache.keyspaces()["cache"]).bytes > 200_000:
            assert time.monotonic() < deadline, found
            time.sleep(0.02)
        assert found.max_bytes == 200_000
        assert found.keys > 100
        assert cache.exists("c1499") == 1
        assert cache.exists("c0") == 0
        assert cache.keyspaces()["kept"] == (200, sum(len(f"k{i}") + 520 for i in range(200)), None)
        evicted = cache.stats().records_evicted + peer.call("stats")["records_evicted"]
        assert evicted >= 1500 - found.keys
        for wrong in (0, -1, True, 1.5, "1"):
            with pytest.raises(DataError):
                cache.set_quota(wrong)  # type: ignore[arg-type]


def test_the_figures_count_every_type_and_leave_out_what_is_dead(db: BlockingFerroKV) -> None:
    db.set("s", "12345")
    db.rpush("list", "a", "b")
    db.rpush("gone", *range(100))
    db.delete("gone")
    root, owner, elements = len("list") + 40 + 20, 8 + len("list") + 20, 2 * (8 + 8 + 1 + 20)
    assert db.keyspaces() == {"default": (2, 26 + root + owner + elements, None)}
    db.compact()
    assert db.keyspaces() == {"default": (2, 26 + root + owner + elements, None)}
    assert db.transaction(lambda tx: (tx.set("t", 1), tx.keyspaces()["default"].keys)[1]) == 3


def test_deleting_a_range_takes_every_type_and_nothing_outside(db: BlockingFerroKV) -> None:
    db.mset({f"user:{i}": i for i in range(50)} | {"user": 1, "user;": 1, "other": 1})
    db.rpush("user:list", 1)
    db.compact()
    db.set("user:99", 1)
    assert db.delete_range(prefix="user:") == 52
    assert db.keys() == [b"other", b"user", b"user;"]
    assert db.delete_range("p", "user;") == 1
    assert db.delete_range(prefix="nothing") == 0
    assert db.delete_range() == 2
    assert db.dbsize() == 0


def test_the_search_for_victims_counts_as_compacting_since_it_may_flush(
    store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that dies in a flush with the COMPACTOR word at zero would leave a manifest in doubt that nobody cleans up."""
    seen: list[int] = []

    def watched(engine: Engine) -> Any:
        seen.append(engine.words[COMPACTOR])
        return find_room(engine)

    monkeypatch.setattr(room, "find_room", watched)
    with BlockingFerroKV.open(store_path) as db:
        db.set_quota(10_000)
        db.mset({f"k{i}": "v" * 500 for i in range(40)})
        deadline = time.monotonic() + 30
        while db.dbsize() > 18:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert seen
    assert 0 not in seen
