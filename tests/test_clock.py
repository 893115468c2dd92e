"""Time that steps: what was seen expired stays expired, and one wrong jump poisons nothing."""

from __future__ import annotations

from ferrokv.engine.clock import SystemClock


class Hands:
    """A wall clock and a steady clock that are moved by hand, in ms."""

    def __init__(self) -> None:
        self.wall = 1_700_000_000_000
        self.steady = 5_000
        self.clock = SystemClock(lambda: self.wall * 1_000_000, lambda: self.steady * 1_000_000)

    def move(self, wall: int, steady: int) -> int:
        self.wall += wall
        self.steady += steady
        return self.clock()


def test_follows_the_wall_clock() -> None:
    hands = Hands()
    start = hands.clock()
    assert hands.move(10, 10) == start + 10


def test_a_step_back_does_not_turn_time_back_and_time_goes_on() -> None:
    hands = Hands()
    start = hands.clock()
    assert hands.move(-3_600_000, 0) == start
    assert hands.move(50, 50) == start + 50


def test_a_small_step_forwards_is_remembered() -> None:
    hands = Hands()
    start = hands.clock()
    assert hands.move(30_000, 0) == start + 30_000
    assert hands.move(-30_000, 0) == start + 30_000


def test_a_jump_to_another_year_and_back_is_forgotten() -> None:
    hands = Hands()
    start = hands.clock()
    year = 365 * 86_400_000
    assert hands.move(year, 0) == start + year
    assert hands.move(-year, 20) == start + 20
