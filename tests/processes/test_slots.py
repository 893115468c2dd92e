"""Slots of the control page: one for each process that has the store open."""

from __future__ import annotations

import pytest

from ferrokv.errors import StoreBusy
from ferrokv.local.engine.slots import Slot, claim_slot, slots_in_use
from ferrokv.local.format import control
from ferrokv.testing.simulated import SimulatedStorage

from ..support.harness import TINY, EngineHarness, ManualClock


def fresh_words() -> list[int]:
    """A control page in memory."""
    return memoryview(control.encode_page(bytes(16), bytes(16), 1)).cast("Q").tolist()


def name(number: int) -> str:
    return f"{number:016x}"


def test_each_living_process_has_a_slot_of_its_own() -> None:
    words = fresh_words()
    slots = [claim_slot(words, name(i), lambda _: True) for i in range(1, 4)]
    assert [slot.number for slot in slots] == [0, 1, 2]
    assert [slot.owner for slot in slots_in_use(words)] == [name(1), name(2), name(3)]
    for slot in slots:
        slot[control.PINNED] = slot.number + 7
    assert [slot[control.PINNED] for slot in slots_in_use(words)] == [7, 8, 9]


def test_a_slot_of_a_dead_or_departed_process_is_claimed_again_and_empty() -> None:
    words = fresh_words()
    first, second, third = (claim_slot(words, name(i), lambda _: True) for i in range(1, 4))
    second[control.PINNED] = 5
    third.release()
    again = claim_slot(words, name(4), lambda owner: owner != name(2))
    assert (again.number, again[control.PINNED], again[control.EPOCH]) == (1, 0, 2)
    assert claim_slot(words, name(5), lambda _: True).number == 2
    assert first[control.EPOCH] == 1
    assert words[control.SLOTS] == 3


def test_more_processes_than_slots_are_refused_by_name() -> None:
    words = fresh_words()
    for i in range(control.SLOTS_MAX):
        claim_slot(words, name(i + 1), lambda _: True)
    with pytest.raises(StoreBusy, match="limit=252"):
        claim_slot(words, name(999), lambda _: True)
    Slot(words, 251).release()
    assert claim_slot(words, name(999), lambda _: True).number == 251


def test_an_opening_claims_a_slot_and_a_dead_process_leaves_it() -> None:
    clock = ManualClock()
    first = EngineHarness(SimulatedStorage(1), clock)
    second = EngineHarness(SimulatedStorage(2, shares=first.storage), clock)
    assert first.engine.slot is not None
    assert second.engine.slot is not None
    assert [first.engine.slot.number, second.engine.slot.number] == [0, 1]
    second.storage.kill()
    third = EngineHarness(SimulatedStorage(3, shares=first.storage), clock, TINY)
    assert third.engine.slot is not None
    assert third.engine.slot.number == 1
    assert third.engine.slot.owner == third.storage.announced()
