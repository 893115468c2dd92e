"""Reporting the progress of long work to a callback."""

from __future__ import annotations

from typing import Final

from ...stats import Progress

TELL_BYTES: Final = 1 << 20


class Meter:
    """Counts bytes, and reports about once per MiB.

    The count only grows, and is the total in the end.
    """

    def __init__(self, total: int, progress: Progress | None) -> None:
        self._total = total
        self._progress = progress
        self._done = 0
        self._told = 0

    def reach(self, done: int) -> None:
        """Set how many bytes are done."""
        self._done = max(self._done, min(done, self._total))
        if self._done - self._told >= TELL_BYTES:
            self._tell()

    def add(self, size: int) -> None:
        """Add to the bytes that are done."""
        self.reach(self._done + size)

    def finish(self) -> None:
        """Report that everything is done."""
        self._done = self._total
        self._tell()

    def _tell(self) -> None:
        self._told = self._done
        if self._progress is not None:
            self._progress(self._done, self._total)
