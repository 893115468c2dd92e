"""Time that steps: all processes see the same, and one wrong clock takes nothing off the disk (docs/decisions/0023-clocks.md)."""

from __future__ import annotations

import time

import pytest

from ferrokv import BlockingFerroKV
from ferrokv.local.clock import NO_BELIEF, SLACK_MS, TRIAL_MS, Belief, SystemClock
from ferrokv.local.engine.engine import EXPIRY_GRACE_MS
from ferrokv.local.format import control
from ferrokv.testing.simulated import SimulatedStorage

from ..support.harness import EngineHarness, ManualClock

HOUR = 3_600_000
YEAR = 365 * 24 * HOUR
KEYS = [b"key:%02d" % i for i in range(100)]


def open_store(clock: ManualClock) -> EngineHarness:
    return EngineHarness(SimulatedStorage(1), clock)


def open_beside(store: EngineHarness) -> EngineHarness:
    """Another process of the same machine."""
    return EngineHarness(SimulatedStorage(2, shares=store.storage), store.clock)


def living(store: EngineHarness) -> list[bytes]:
    return [key for key, _ in store.scan() if key in KEYS]


def drop_what_can_go(store: EngineHarness) -> None:
    """What takes expired records off the disk: a flush, and a compaction of everything, which needs something new to merge."""
    store.set(b"a new one", b"")
    store.rotate()
    store.flush()
    store.compact(everything=True)


def test_the_wall_clock_counts_at_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SystemClock()
    for moment in (5_000, 1_000, 9_000):
        monkeypatch.setattr(time, "time_ns", lambda moment=moment: moment * 1_000_000)
        assert clock() == moment


def test_a_process_that_opened_while_the_clock_was_ahead_agrees_with_the_others_once_it_is_set_back() -> None:
    clock = ManualClock()
    clock.step_ms = 3 * HOUR
    early = open_store(clock)
    clock.step_ms = 0
    late = open_beside(early)
    late.set(b"session", b"1", ttl_ms=HOUR)
    assert early.get(b"session") == b"1"
    assert early.scan() == [(b"session", b"1")]
    early.set(b"own", b"2", ttl_ms=HOUR)
    clock.now_ms += HOUR
    assert late.get(b"own") is None
    assert early.get(b"session") is None


def test_it_takes_nothing_off_the_disk_that_lives() -> None:
    clock = ManualClock()
    clock.step_ms = 3 * HOUR
    early = open_store(clock)
    clock.step_ms = 0
    late = open_beside(early)
    for key in KEYS:
        late.set(key, b"value", ttl_ms=HOUR)
    drop_what_can_go(early)
    assert living(late) == KEYS
    assert living(early) == KEYS


@pytest.mark.parametrize("step_ms", [3 * HOUR, YEAR])
def test_a_jump_ahead_and_back_takes_nothing_off_the_disk(step_ms: int) -> None:
    clock = ManualClock()
    store = open_store(clock)
    for key in KEYS:
        store.set(key, b"value", ttl_ms=HOUR)
    clock.step_ms = step_ms
    assert store.scan() == [], "the wall clock says that they have expired"
    drop_what_can_go(store)
    clock.step_ms = 0
    assert living(store) == KEYS


def test_nor_does_a_process_that_opens_during_the_jump_or_first_of_all_after_others_have_gone() -> None:
    clock = ManualClock()
    store = open_store(clock)
    for key in KEYS:
        store.set(key, b"value", ttl_ms=HOUR)
    clock.step_ms = 3 * HOUR
    beside = open_beside(store)
    drop_what_can_go(beside)
    beside.storage.close()
    store.storage.close()
    alone = EngineHarness(SimulatedStorage(3, shares=store.storage), clock)
    drop_what_can_go(alone)
    clock.step_ms = 0
    assert living(alone) == KEYS


def test_what_has_expired_by_both_clocks_goes_after_the_grace() -> None:
    clock = ManualClock()
    store = open_store(clock)
    for key in KEYS:
        store.set(key, b"value", ttl_ms=HOUR)
    clock.now_ms += HOUR + EXPIRY_GRACE_MS
    drop_what_can_go(store)
    assert store.engine.counters.records_expired == 0, "the grace is not over"
    clock.now_ms += 1
    drop_what_can_go(store)
    assert store.engine.counters.records_expired == len(KEYS)


def test_a_clock_that_was_set_right_by_a_step_ahead_is_believed_once_that_has_lasted() -> None:
    clock = ManualClock()
    clock.step_ms = -YEAR
    store = open_store(clock)
    clock.step_ms = 0
    store.set(b"key", b"value", ttl_ms=1_000)
    clock.now_ms += 2 * EXPIRY_GRACE_MS
    moment = store.engine.certain_ms()
    assert moment < clock() - YEAR + HOUR
    clock.now_ms += TRIAL_MS
    assert store.engine.certain_ms() == clock()


def test_beliefs() -> None:
    """A step back counts at once, one ahead after it has lasted, and one that changes begins its time anew."""
    belief = NO_BELIEF.seen(1_000_000, 0)
    assert belief == Belief(1_000_000, 0, 0)
    assert belief.seen(900_000, 1) == Belief(900_000, 0, 0)
    ahead = belief.seen(2_000_000, 10)
    assert ahead == Belief(1_000_000, 2_000_000, 10)
    assert ahead.seen(2_000_000, 9 + TRIAL_MS) == ahead
    assert ahead.seen(2_000_050, 10 + TRIAL_MS) == Belief(2_000_000, 0, 0)
    lower = 2_000_000 - SLACK_MS - 1
    assert ahead.seen(lower, 20) == Belief(1_000_000, lower, 20)
    assert ahead.seen(1_000_000, 20) == belief, "it was a jump, and is over"


def test_the_page_of_another_boot_says_nothing_of_the_clock() -> None:
    page = control.encode_page(bytes(16), b"a" * 16, 1, 7, (1, 2, 3))
    head = page[: control.HEAD_BYTES]
    assert control.previous_clock(head, control.encode_page(bytes(16), b"a" * 16, 2)) == (1, 2, 3)
    assert control.previous_clock(head, control.encode_page(bytes(16), b"b" * 16, 2)) == (0, 0, 0)


def test_a_backup_by_a_reader_that_has_no_belief_keeps_what_has_expired(tmp_path, monkeypatch) -> None:
    now = time.time_ns()
    with BlockingFerroKV.open(tmp_path / "store") as db:
        db.set("key", "value", px=1_000)
    (tmp_path / "store" / "control").unlink()
    monkeypatch.setattr(time, "time_ns", lambda: now + YEAR * 1_000_000)
    with BlockingFerroKV.open(tmp_path / "store", read_only=True) as reader:
        assert reader.get("key") is None
        reader.backup(tmp_path / "copy")
    monkeypatch.setattr(time, "time_ns", lambda: now)
    with BlockingFerroKV.open(tmp_path / "copy") as copy:
        assert copy.get("key") == b"value"


def test_a_lock_whose_lease_has_not_ended_stays_held_after_a_step_back(tmp_path, monkeypatch) -> None:
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now + 3 * HOUR * 1_000_000)
    with BlockingFerroKV.open(tmp_path / "store") as db:
        monkeypatch.setattr(time, "time_ns", lambda: now)
        db.set("lock", "somebody", px=HOUR)
        assert not db.set("lock", "me", nx=True)
        assert db.pttl("lock") == HOUR
