"""A flag that the kernel clears in a forked child (docs/decisions/0020-forks.md).

A C library may fork without Python's knowledge, so that no hook runs in the child. The flag is a
byte in a page marked MADV_WIPEONFORK (Linux 4.14), which the kernel clears in a child. Checking it
takes 12 ns, little enough to do it at every read of a store; getpid(2) takes ten times as long.
"""

from __future__ import annotations

import mmap
import os
import sys
from typing import Final

from .requests import Flag

WIPE_ON_FORK: Final = 18  # MADV_WIPEONFORK, for which Python has no name


class PidFlag:
    """The flag where the kernel has no such pages. It compares the pid at each check."""

    __slots__ = ("_pid", "_value")

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._value = 1

    def __getitem__(self, index: int, /) -> int:
        return self._value if os.getpid() == self._pid else 0

    def __setitem__(self, index: int, value: int, /) -> None:
        self._value = value


def raise_flag() -> Flag:
    """Return a flag that is 1 in this process, and 0 in every child of it."""
    if sys.platform == "linux":
        page = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        try:
            page.madvise(WIPE_ON_FORK)
        except OSError:  # an older kernel, or a sandbox
            page.close()
        else:
            page[0] = 1
            return page
    return PidFlag()
