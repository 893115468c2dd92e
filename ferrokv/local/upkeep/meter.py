"""How far a long piece of work has come, told to whoever asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

Progress = Callable[[int, int], object]
"""(bytes done, bytes in all); what it answers is ignored, what it raises ends the work."""
TELL_BYTES: Final = 1 << 20


class Meter:
    """Counts bytes, and tells about each MiB. What is done only grows, and reaches the total in the end."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self._total = total
        self._progress = progress
        self._done = 0
        self._told = 0

    def reach(self, done: int) -> None:
        """So many bytes are done."""
        self._done = max(self._done, min(done, self._total))
        if self._done - self._told >= TELL_BYTES:
            self._tell()

    def add(self, size: int) -> None:
        """So many bytes more are done."""
        self.reach(self._done + size)

    def finish(self) -> None:
        """All is done."""
        self._done = self._total
        self._tell()

    def _tell(self) -> None:
        self._told = self._done
        if self._progress is not None:
            self._progress(self._done, self._total)
