"""Keyspaces: their figures, and the quotas that they may carry."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from ferrokv import BlockingFerroKV, DataError
from ferrokv.commands import keyspaces, lists, strings
from ferrokv.engine.engine import Engine
from ferrokv.engine.quotas import evict, find_victims, quota_due
from ferrokv.format.control import COMPACTOR
from ferrokv.runtime import background
from ferrokv.storage.drivers import complete
from ferrokv.storage.simulated import SimulatedStorage

from .harness import EngineHarness, ManualClock
from .peer import Peer


@pytest.fixture
def store() -> EngineHarness:
    return EngineHarness(SimulatedStorage(1), ManualClock())


def victims_of(store: EngineHarness, max_bytes: int) -> list[bytes]:
    """Who would go, sorted."""
    store.write(keyspaces.set_quota, max_bytes)
    found = complete(find_victims(store.engine), store.storage)
    return sorted(key for key, _, _ in found["default"].records) if found else []


def test_records_with_a_ttl_go_first_and_the_nearest_expiry_before_others(store: EngineHarness) -> None:
    for i in range(10):
        store.set(b"plain:%d" % i, b"v" * 100)
        store.set(b"timed:%d" % i, b"v" * 100, 100_000 - 1000 * i)
        if i % 3 == 0:
            store.rotate()
            store.flush()
    record = len(b"plain:0") + 100 + 20
    total = 20 * record
    assert victims_of(store, total) == []
    assert victims_of(store, total - 1) == [b"timed:7", b"timed:8", b"timed:9"], "down to nine tenths"
    assert victims_of(store, int(total * 0.55)) == [b"plain:0", *(b"timed:%d" % i for i in range(10))]
    store.clock.now_ms += 95_500
    assert victims_of(store, 15 * record - 1) == [b"timed:3", b"timed:4"], "what has expired takes no room"


def test_after_those_the_oldest_written_go(store: EngineHarness) -> None:
    for name in (b"c", b"a", b"b"):
        for i in range(4):
            store.set(name + b"%d" % i, b"v" * 100)
        store.rotate()
        store.flush()
        store.compact()
    store.set(b"c0", b"w" * 100)  # written again, so no longer old
    assert set(victims_of(store, 12 * 122 - 1)) < {b"c1", b"c2", b"c3"}


def test_a_collection_goes_as_a_whole_and_counts_with_its_elements(store: EngineHarness) -> None:
    store.write(lists.push, b"list", [b"v" * 50] * 40, False, False)
    store.set(b"timed", b"v", 1000)
    for _ in range(2):
        assert victims_of(store, 2000) == [b"list", b"timed"]
        store.rotate()
        store.flush()
    prefix, records = complete(find_victims(store.engine), store.storage)["default"]
    assert sorted(key for key, _, _ in records) == [b"list", b"timed"]
    store.set(b"timed", b"other", 1000)
    store.write(evict, prefix, records, store.engine.counters)
    assert store.engine.counters.evicted == 1, "the other is not what it was when it was chosen"
    assert store.get(b"list") is None
    assert store.get(b"timed") == b"other"


@pytest.mark.parametrize("change", ["quota taken away", "cleared", "written again"])
def test_who_was_chosen_stays_if_the_keyspace_has_changed(store: EngineHarness, change: str) -> None:
    store.set(b"k", b"v" * 3000)
    store.write(keyspaces.set_quota, 1000)
    prefix, records = complete(find_victims(store.engine), store.storage)["default"]
    assert [key for key, _, _ in records] == [b"k"]
    if change == "quota taken away":
        store.write(keyspaces.set_quota, None)
    elif change == "cleared":
        store.write(lambda tx: tx.clear_keyspace())
        store.set(b"k", b"v" * 3000)
    else:
        store.set(b"k", b"w" * 3000)
    store.write(evict, prefix, records, store.engine.counters)
    assert store.get(b"k") is not None
    assert store.engine.counters.evicted == 0


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
    complete(find_victims(store.engine), store.storage)
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
        return find_victims(engine)

    monkeypatch.setattr(background, "find_victims", watched)
    with BlockingFerroKV.open(store_path) as db:
        db.set_quota(10_000)
        db.mset({f"k{i}": "v" * 500 for i in range(40)})
        deadline = time.monotonic() + 30
        while db.dbsize() > 18:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert seen
    assert 0 not in seen
