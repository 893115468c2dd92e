"""Wall-clock milliseconds that never run backwards within a process, so that what expired stays expired."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Final

Clock = Callable[[], int]
"""-> now, in ms since 1970"""

# A step forwards of more than this beyond what the steady clock saw may be a mistake: it is believed, not remembered.
STEP_REMEMBERED_MS: Final = 60_000
_steady_ns: Final = partial(time.clock_gettime_ns, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class SystemClock:
    """Call it for the time. When the wall clock steps back, time goes on from the highest value at the steady pace.

    Thread-safe in the sense that matters: two threads may each move the offset, to values that are both true. Both hands are read
    in nanoseconds, by functions written in C: every read of a key with a TTL asks.
    """

    __slots__ = ("_offset_ms", "_steady", "_wall")

    def __init__(self, wall: Callable[[], int] = time.time_ns, steady: Callable[[], int] = _steady_ns) -> None:
        self._wall = wall
        self._steady = steady
        self._offset_ms = wall() // 1_000_000 - steady() // 1_000_000  # of the wall clock before the steady one

    def __call__(self) -> int:
        wall = self._wall() // 1_000_000
        steady = self._steady() // 1_000_000
        expected = steady + self._offset_ms
        if wall <= expected:
            return expected
        if wall - expected <= STEP_REMEMBERED_MS:
            self._offset_ms = wall - steady
        return wall
