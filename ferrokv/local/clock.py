"""Time: the wall clock for what readers see, the same for all processes, and a moment that has passed beyond doubt for what may be
dropped (docs/format.md section 7, docs/decisions/0023-clocks.md). Waiting goes by neither: see `storage/locks.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple, Protocol

# A wall clock that is ahead of what it was is believed when it is still so this much later.
TRIAL_MS: Final = 3_600_000
SLACK_MS: Final = 1_000
# Not by an attribute of `time` that a test may have replaced: this clock goes on while the other one stands.
_steady_ns: Final = partial(time.clock_gettime_ns, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


Now = Callable[[], int]
"""-> now, in ms since 1970"""


class Clock(Protocol):
    """Two hands. Call it for the time."""

    def __call__(self) -> int:
        """Now, in ms since 1970."""

    def steady(self) -> int:
        """Milliseconds since some moment of this boot, by a clock that nobody sets."""


class SystemClock:
    """The machine's clocks. Any thread."""

    __slots__ = ()

    def __call__(self) -> int:
        """The wall clock. It is looked up in `time` at each call, so that what sets the time in a test sets it here, too."""
        return time.time_ns() // 1_000_000

    def steady(self) -> int:
        """On Linux the time that the machine slept counts, too."""
        return _steady_ns() // 1_000_000


class Belief(NamedTuple):
    """What the processes of a boot believe of their wall clock. Offsets are of the wall clock before the steady one, in ms."""

    offset: int
    """The one that is believed; 0: none yet."""
    trial: int
    """A higher one that was seen since; 0: none."""
    since: int
    """By the steady clock, when it was first seen."""

    def seen(self, offset: int, steady_ms: int) -> Belief:
        """The belief after the clocks were read. A step back counts at once, a step ahead when it has lasted."""
        offset = max(1, offset)
        if not self.offset or offset <= self.offset:
            return Belief(offset, 0, 0)
        if not self.trial or offset < self.trial - SLACK_MS:
            return Belief(self.offset, offset, steady_ms)
        lowest = min(self.trial, offset)
        if steady_ms - self.since >= TRIAL_MS:
            return Belief(lowest, 0, 0)
        return Belief(self.offset, lowest, self.since)


NO_BELIEF: Final = Belief(0, 0, 0)


def look(clock: Clock, belief: Belief) -> tuple[int, Belief]:
    """A moment that has passed beyond doubt, by the wall clock and by what was believed of it, in ms since 1970; the new belief."""
    wall, steady = clock(), clock.steady()
    belief = belief.seen(wall - steady, steady)
    return min(wall, steady + belief.offset), belief
