"""The soak's oracle refuses what may not happen, and believes what may: told by lines, without a store.

The soak itself is `make soak`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from .soak.director import ACTIONS, Choice, Director, Disk
from .soak.ending import slope_of
from .soak.oracle import Oracle
from .soak.saying import number_of, value_of


class Teller:
    """Says lines in the place of processes, at times of its own."""

    def __init__(self) -> None:
        self.oracle = Oracle()
        self._calls = 0

    def begin(self, at: int, words: str, pid: int = 1) -> str:
        self._calls += 1
        call = f"{pid}.{self._calls}"
        self.oracle.hear("worker 0", f"> {call} {at} {words}")
        return call

    def end(self, call: str, at: int, answer: str) -> None:
        self.oracle.hear("worker 0", f"< {call} {at} {answer}")

    def tell(self, began: int, ended: int, words: str, answer: str, pid: int = 1) -> None:
        self.end(self.begin(began, words, pid), ended, answer)

    def violations(self) -> list[str]:
        self.oracle.settle(finally_=True)
        self.oracle.check_locks()
        self.oracle.check_jobs()
        return self.oracle.violations


@pytest.fixture
def teller() -> Teller:
    return Teller()


def lost(teller: Teller) -> None:
    teller.tell(1, 2, "set k 11", "done")
    teller.tell(3, 4, "read k", "none")


def stale(teller: Teller) -> None:
    teller.tell(1, 2, "set k 11", "done")
    teller.tell(3, 4, "set k 12", "done")
    teller.tell(5, 6, "read k", "11")


def from_nowhere(teller: Teller) -> None:
    teller.tell(1, 2, "read k", "11")


def too_early(teller: Teller) -> None:
    teller.tell(1, 2, "read k", "11")
    teller.tell(3, 4, "set k 11", "done")


def garbled(teller: Teller) -> None:
    teller.tell(1, 2, "read k", "garbage:00")


def deleted_and_back(teller: Teller) -> None:
    teller.tell(1, 2, "set k 18", "done")
    teller.tell(3, 4, "set k 19", "done")
    teller.tell(5, 6, "read k", "18")


def counted_twice(teller: Teller) -> None:
    teller.tell(1, 2, "incr n", "1")
    teller.tell(3, 4, "incr n", "1")


def counted_too_little(teller: Teller) -> None:
    teller.tell(1, 2, "incr n", "1")
    teller.tell(3, 4, "count n", "0")


def counted_too_much(teller: Teller) -> None:
    teller.tell(1, 2, "incr n", "1")
    teller.tell(3, 4, "count n", "2")


def job_lost(teller: Teller) -> None:
    teller.tell(1, 2, "push j1", "1")


def job_popped_twice(teller: Teller) -> None:
    teller.tell(1, 2, "push j1", "1")
    teller.tell(3, 4, "pop", "j1")
    teller.tell(5, 6, "pop", "j1")


def job_back(teller: Teller) -> None:
    teller.tell(1, 2, "push j1", "1")
    teller.tell(3, 4, "pop", "j1")
    teller.oracle.hear("check 0", "L j1")


def lock_held_twice(teller: Teller) -> None:
    teller.tell(1, 2, "lock L", "1", pid=1)
    teller.tell(3, 4, "lock L", "1", pid=2)
    teller.tell(5, 6, "unlock L", "done", pid=1)


def raised(teller: Teller) -> None:
    call = teller.begin(1, "set k 11")
    teller.oracle.hear("worker 0", f"! {call} 2 CorruptionError bytes are wrong")


def seen(teller: Teller) -> None:
    teller.oracle.hear("worker 0", "X a snapshot changed")


WRONG = (lost, stale, from_nowhere, too_early, garbled, deleted_and_back, counted_twice, counted_too_little)
WRONG += (counted_too_much, job_lost, job_popped_twice, job_back, lock_held_twice, raised, seen)


@pytest.mark.parametrize("history", WRONG, ids=lambda history: history.__name__)
def test_the_oracle_refuses_what_may_not_happen(teller: Teller, history: Callable[[Teller], None]) -> None:
    history(teller)
    assert len(teller.violations()) == 1


def cut_off(teller: Teller) -> None:
    teller.tell(1, 2, "set k 11", "done")
    teller.begin(3, "set k 12")
    teller.oracle.ended("1")
    teller.tell(5, 6, "read k", "11")
    teller.tell(7, 8, "read k", "12")


def in_flight(teller: Teller) -> None:
    write = teller.begin(1, "set k 19")
    teller.tell(2, 4, "read k", "none")
    teller.end(write, 5, "done")


def heard_late(teller: Teller) -> None:
    teller.tell(2, 9, "read k", "11")
    teller.oracle.settle()
    teller.tell(1, 3, "set k 11", "done")


def uncertain(teller: Teller) -> None:
    call = teller.begin(1, "incr n")
    teller.oracle.hear("worker 0", f"! {call} 2 StoreUncertain another process did not finish")
    teller.tell(3, 4, "count n", "1")
    teller.tell(5, 6, "count n", "0")


def pop_cut_off(teller: Teller) -> None:
    teller.tell(1, 2, "push j1", "1")
    teller.begin(3, "pop")
    teller.oracle.ended("1")


def lock_of_the_dead(teller: Teller) -> None:
    teller.tell(1, 2, "lock L", "1", pid=1)
    teller.oracle.ended("1")
    teller.tell(3, 4, "lock L", "1", pid=2)
    teller.tell(5, 6, "unlock L", "done", pid=2)


RIGHT = (cut_off, in_flight, heard_late, uncertain, pop_cut_off, lock_of_the_dead)


@pytest.mark.parametrize("history", RIGHT, ids=lambda history: history.__name__)
def test_the_oracle_believes_what_may_happen(teller: Teller, history: Callable[[Teller], None]) -> None:
    history(teller)
    assert teller.violations() == []


def test_hour_keys_that_vanish_are_counted(teller: Teller) -> None:
    teller.tell(1, 2, "set hour:0:1 20", "done")
    teller.tell(3, 4, "read hour:0:1", "none")
    assert len(teller.violations()) == 1
    assert teller.oracle.hour_keys_lost == 1


def test_values_tell_their_number_and_nothing_else_does() -> None:
    for number in (0, 7, 97, 123_456):
        assert number_of(value_of(number)) == str(number)
        assert number_of(value_of(number).decode()) == str(number)
    assert number_of(None) == "none"
    assert number_of(value_of(7)[:-1]).startswith("garbage")
    assert number_of(b"7:8,").startswith("garbage")


def test_a_seed_gives_the_same_actions(tmp_path: Path) -> None:
    def first(seed: int) -> list[Choice]:
        director = Director(tmp_path, seed, Oracle(), Disk(tmp_path))
        return [director.choose() for _ in range(100)]

    assert first(1) == first(1) != first(2)
    assert {choice.action for choice in first(1)} == set(ACTIONS)


def test_a_leak_has_a_slope_and_a_plateau_has_none() -> None:
    samples = [{"time": 5.0 * i, "rss_kib": 1000.0 + 10 * i} for i in range(100)]
    assert round(slope_of(samples, "rss_kib") or 0) == 120
    assert slope_of([{**sample, "rss_kib": 5.0} for sample in samples], "rss_kib") == 0
    assert slope_of(samples[:9], "rss_kib") is None
