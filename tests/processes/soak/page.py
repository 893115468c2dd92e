"""Sixteen bytes that the director shares with one worker: how wrong its clock is, and whether its disk is full."""

from __future__ import annotations

import errno
import mmap
import time
from pathlib import Path

CLOCK, FULL = 0, 1


class Page:
    """Two words in a file outside of the store's directory, mapped by the director and by the worker."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            path.write_bytes(bytes(16))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 16)
        self._words = memoryview(self._map).cast("q")

    @property
    def clock_ns(self) -> int:
        """What is added to the wall clock."""
        return self._words[CLOCK]

    @clock_ns.setter
    def clock_ns(self, value: int) -> None:
        self._words[CLOCK] = value

    @property
    def full(self) -> bool:
        """Whether writes find no space."""
        return bool(self._words[FULL])

    @full.setter
    def full(self, value: bool) -> None:
        self._words[FULL] = int(value)

    def wrong_clock(self) -> None:
        """Have this process see the wall clock that the director sets. Before ferrokv is imported."""
        true = time.time_ns
        time.time_ns = lambda: true() + self._words[CLOCK]
        time.time = lambda: time.time_ns() / 1e9

    def limited_disk(self) -> None:
        """Have writes and new files find no space while the director says so. Where no disk of its own can be mounted."""
        from ferrokv.local.storage.local import LocalStorage

        write, make = LocalStorage._write, LocalStorage._open

        def refuse() -> None:
            if self.full:
                raise OSError(errno.ENOSPC, "the director says that the disk is full")

        def limited_write(storage: LocalStorage, request: object) -> object:
            refuse()
            return write(storage, request)

        def limited_make(storage: LocalStorage, request: object) -> object:
            if request.create:
                refuse()
            return make(storage, request)

        LocalStorage._write, LocalStorage._open = limited_write, limited_make
