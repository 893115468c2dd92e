"""The brake: writers slow down, and then wait, while compaction is behind.

Each flush adds a table to level 0, and every read looks at all of them; so writers must not be faster than compaction for long. As
RocksDB does ("Write Stalls" in its wiki), there are two marks. From the first on, the bytes that one process may write in a second
are halved with each further table, which settles where writers and compaction are equally fast. At the second, writers wait.

The number of tables is a word of the control page, so that writers of every process see what the compactor of one has come to.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from ..engine.engine import Engine
from ..errors import StoreBusy

FIRST_BYTES_PER_SECOND: Final = 32 << 20  # of one process, at the first mark
DELAY_SECONDS_MAX: Final = 1.0  # before one commit
LOOK_SECONDS: Final = 0.02  # how often a stopped writer looks whether another process has compacted


class Brake:
    """Of one process. Owner: whoever has the writer's turn; the figures may be read by any thread."""

    def __init__(self, engine: Engine, steady: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._steady = steady
        self._slowdown = engine.options.slowdown_at
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
        return self._engine.level0_tables >= self._slowdown and (self.is_stopped or self.delay() > 0)

    def delay(self) -> float:
        """Seconds until the next commit may begin, 0 if it may begin now."""
        if self._engine.level0_tables < self._slowdown:
            return 0.0
        return min(DELAY_SECONDS_MAX, max(0.0, self._free_at - self._steady()))

    def note_written(self, size: int) -> None:
        """So many bytes were written."""
        over = self._engine.level0_tables - self._slowdown
        if over >= 0:
            now = self._steady()
            self._free_at = (
                max(now, min(self._free_at, now + DELAY_SECONDS_MAX)) + size * 2.0**over / FIRST_BYTES_PER_SECOND
            )

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
