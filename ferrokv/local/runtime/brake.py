"""The brake: writers slow down, and then wait, while compaction is behind.

Each flush adds a table to level 0, and every read looks at all of them; and what piles up in the levels below has to be rewritten
all the same. So writers must not be faster than compaction for long. As in RocksDB ("Write Stalls" in its wiki) there are marks for
both, and whichever brakes harder counts. Beyond the first mark of level 0, each further table halves the bytes that one process may
write in a second; beyond the mark of the score (compaction/score.py), each further half does. That settles where writers and
compaction are equally fast. At the second mark of level 0, writers wait.

Both figures are words of the control page, so that writers of every process see what the compactor of one has come to.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from ...errors import StoreBusy
from ..engine.engine import Engine

FIRST_BYTES_PER_SECOND: Final = 32 << 20  # of one process, at the first mark of level 0
SCORE_FIRST: Final = 2.0  # how often that is halved at the mark of the score
DELAY_SECONDS_MAX: Final = 1.0  # before one commit
SCORE_PRESSURE_MAX: Final = 12.0  # 8 KiB a second
NEARLY_STOPPED: Final = 6  # 512 KiB a second
LOOK_SECONDS: Final = 0.02  # how often a stopped writer looks whether another process has compacted


def pressure(engine: Engine) -> float:
    """How many times the speed of writers is halved at the moment; negative while they are free. Any thread."""
    options = engine.options
    tables = engine.level0_tables - options.slowdown_at
    over = engine.compaction_score - options.score_slowdown
    return max(tables, min(SCORE_PRESSURE_MAX, SCORE_FIRST + 2 * over) if over >= 0 else -1)


class Brake:
    """Of one process. Owner: whoever has the writer's turn; the figures may be read by any thread."""

    def __init__(self, engine: Engine, steady: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._steady = steady
        self._stop = engine.options.stop_at
        self._free_at = 0.0  # by the steady clock: when the bytes written so far are paid for
        self.slowed = 0  # commits that were delayed
        self.stopped = 0  # commits that had to wait
        self.seconds = 0.0  # that commits were delayed, or waited

    @property
    def is_stopped(self) -> bool:
        """True if nothing may be written now."""
        return self._engine.level0_tables >= self._stop

    @property
    def is_on(self) -> bool:
        """True if a write has to wait, be it for a moment."""
        return pressure(self._engine) >= 0 and (self.is_stopped or self.delay() > 0)

    def delay(self) -> float:
        """Seconds until the next commit may begin, 0 if it may begin now."""
        if pressure(self._engine) < 0:
            return 0.0
        return min(DELAY_SECONDS_MAX, max(0.0, self._free_at - self._steady()))

    def note_written(self, size: int) -> None:
        """So many bytes were written."""
        halvings = pressure(self._engine)
        if halvings >= 0:
            now = self._steady()
            free_at = max(now, min(self._free_at, now + DELAY_SECONDS_MAX))
            self._free_at = free_at + size * 2.0**halvings / FIRST_BYTES_PER_SECOND

    def note_waited(self, seconds: float, *, stopped: bool) -> None:
        """A commit was delayed, or had to wait."""
        self.seconds += seconds
        if stopped:
            self.stopped += 1
        else:
            self.slowed += 1

    def error(self) -> StoreBusy:
        """What a writer raises that has waited for too long."""
        engine = self._engine
        return StoreBusy(
            "writes wait for flushes or compaction, which are too far behind: "
            f"sealed={len(engine.view.sealed)} sealed_memtables_max={engine.options.sealed_memtables_max} "
            f"level0={engine.level0_tables} level0_stop={engine.options.stop_at} "
            f"busy_timeout={engine.options.busy_timeout:.3g} compactor_pid={engine.compactor_pid}"
        )
