"""The brake: slows writers down, and then stops them, while compaction is behind.

Each flush adds a table to level 0, and every read has to look at all of them. Whatever piles up in
the levels below must be rewritten as well. So writers must not outpace compaction for long. As in
RocksDB ("Write Stalls" in its wiki), there is a limit for each of the two, and the stronger one
counts:

- Beyond `level0_slowdown`, each further table in level 0 halves the bytes per second that one
  process may write. At `level0_stop`, writers wait.
- Beyond `score_slowdown`, each further half of the compaction score (compaction/score.py) does.

This settles at the point where writers and compaction are equally fast. Both figures are words of
the control page, so writers of every process see how far the one that compacts has come.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from ...errors import StoreBusy
from ..engine.engine import Engine

FIRST_BYTES_PER_SECOND: Final = 32 << 20  # per process, at `level0_slowdown`
SCORE_FIRST: Final = 2.0  # how often that is halved at `score_slowdown`
DELAY_SECONDS_MAX: Final = 1.0  # before one commit
SCORE_PRESSURE_MAX: Final = 12.0  # 8 KiB a second
NEARLY_STOPPED: Final = 6  # 512 KiB a second
LOOK_SECONDS: Final = 0.02  # how often a stopped writer checks for progress by another process


def pressure(engine: Engine) -> float:
    """How many times writers' speed is halved now; negative if they are not slowed. Any thread."""
    options = engine.options
    tables = engine.level0_tables - options.slowdown_at
    over = engine.compaction_score - options.score_slowdown
    return max(tables, min(SCORE_PRESSURE_MAX, SCORE_FIRST + 2 * over) if over >= 0 else -1)


class Brake:
    """The brake of one process.

    Owned by whoever has the writer's turn; any thread may read its figures.
    """

    def __init__(self, engine: Engine, steady: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._steady = steady
        self._stop = engine.options.stop_at
        self._free_at = 0.0  # steady clock time at which the bytes written so far are paid for
        self.slowed = 0  # commits that were delayed
        self.stopped = 0  # commits that had to wait for a flush or compaction
        self.seconds = 0.0  # seconds that commits were delayed or waited

    @property
    def is_stopped(self) -> bool:
        """True if nothing may be written now."""
        return self._engine.level0_tables >= self._stop

    @property
    def is_on(self) -> bool:
        """True if a write has to wait, even briefly."""
        return pressure(self._engine) >= 0 and (self.is_stopped or self.delay() > 0)

    def delay(self) -> float:
        """Seconds until the next commit may begin; 0 if it may begin now."""
        if pressure(self._engine) < 0:
            return 0.0
        return min(DELAY_SECONDS_MAX, max(0.0, self._free_at - self._steady()))

    def note_written(self, size: int) -> None:
        """Record that `size` bytes were written."""
        halvings = pressure(self._engine)
        if halvings >= 0:
            now = self._steady()
            free_at = max(now, min(self._free_at, now + DELAY_SECONDS_MAX))
            self._free_at = free_at + size * 2.0**halvings / FIRST_BYTES_PER_SECOND

    def note_waited(self, seconds: float, *, stopped: bool) -> None:
        """Record that a commit was delayed, or had to wait if `stopped`."""
        self.seconds += seconds
        if stopped:
            self.stopped += 1
        else:
            self.slowed += 1

    def error(self) -> StoreBusy:
        """The error for a writer that has waited too long."""
        engine = self._engine
        return StoreBusy(
            "writes are waiting for flushes or compaction, which are too far behind: "
            f"sealed={len(engine.view.sealed)} sealed_memtables_max={engine.options.sealed_memtables_max} "
            f"level0={engine.level0_tables} level0_stop={engine.options.stop_at} "
            f"busy_timeout={engine.options.busy_timeout:.3g} compactor_pid={engine.compactor_pid}"
        )
