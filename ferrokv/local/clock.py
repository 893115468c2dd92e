"""Time: the wall clock for reads, and the *certain moment* for compaction.

A read takes a record as expired when the wall clock says so. All processes of a machine see the
same wall clock. But a clock may be wrong for a while, and what compaction drops does not come back.
So compaction goes by the certain moment, which has passed beyond doubt: the lower of the wall clock
and of the steady clock plus an offset. All processes of a boot share what they believe this offset
to be (`Belief`) in the control page. If the wall clock steps back, the offset follows at once. If
it steps ahead, the offset follows only when the step has lasted for an hour. See docs/format.md
section 7 and docs/decisions/0023-clocks.md.

Timeouts go by neither of these: see `storage/lock_files.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple, Protocol

# A step ahead of the wall clock is believed when it has lasted for so long.
TRIAL_MS: Final = 3_600_000
SLACK_MS: Final = 1_000
# Bound at import, so that a test which replaces attributes of `time` does not stop this clock, too.
_steady_ns: Final = partial(time.clock_gettime_ns, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


Now = Callable[[], int]
"""Returns the current time in ms since 1970."""


class Clock(Protocol):
    """A wall clock, read by calling the object, and a steady clock."""

    def __call__(self) -> int:
        """Return the wall clock's time in ms since 1970."""

    def steady(self) -> int:
        """Return the ms since some moment of this boot, by a clock that nobody can set."""


class SystemClock:
    """The machine's clocks. Any thread may use them."""

    __slots__ = ()

    def __call__(self) -> int:
        """Return the wall clock's time in ms since 1970.

        Each call looks the function up in `time`, so a test that sets the time there sets it here,
        too.
        """
        return time.time_ns() // 1_000_000

    def steady(self) -> int:
        """Return the steady clock's time in ms.

        On Linux it includes the time that the machine slept.
        """
        return _steady_ns() // 1_000_000


class Belief(NamedTuple):
    """What the processes of a boot believe about the wall clock.

    An offset is the wall clock's time minus the steady clock's, in ms.
    """

    offset: int
    """The offset that is believed; 0 if there is none yet."""
    trial: int
    """A higher offset that was seen since; 0 if there is none."""
    since: int
    """The steady clock's time when `trial` was first seen."""

    def seen(self, offset: int, steady_ms: int) -> Belief:
        """Return the belief after the clocks have shown `offset` at `steady_ms`.

        A step back is believed at once, a step ahead when it has lasted for TRIAL_MS.
        """
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


def read_clock(clock: Clock, belief: Belief) -> tuple[int, Belief]:
    """Read the clocks. Return the certain moment, in ms since 1970, and the new belief."""
    wall, steady = clock(), clock.steady()
    belief = belief.seen(wall - steady, steady)
    return min(wall, steady + belief.offset), belief
