"""Wall-clock milliseconds that never run backwards within a process, so that what expired stays expired."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

Clock = Callable[[], int]
"""-> now, in ms since 1970"""

# A step forwards of more than this beyond what the steady clock saw may be a mistake: it is believed, not remembered.
STEP_REMEMBERED_MS: Final = 60_000
_STEADY: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


def _steady_ms() -> int:
    return time.clock_gettime_ns(_STEADY) // 1_000_000


class SystemClock:
    """Call it for the time. When the wall clock steps back, time goes on from the highest value at the steady pace.

    Thread-safe in the sense that matters: two threads may each move the anchor, to values that are both true.
    """

    __slots__ = ("_anchor", "_steady", "_wall")

    def __init__(self, wall: Clock = _wall_ms, steady: Clock = _steady_ms) -> None:
        self._wall = wall
        self._steady = steady
        self._anchor = (wall(), steady())

    def __call__(self) -> int:
        wall = self._wall()
        anchor_wall, anchor_steady = self._anchor
        steady = self._steady()
        expected = anchor_wall + steady - anchor_steady
        if wall <= expected:
            return expected
        if wall - expected <= STEP_REMEMBERED_MS:
            self._anchor = (wall, steady)
        return wall
