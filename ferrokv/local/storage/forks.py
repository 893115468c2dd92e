"""A byte that tells a process that it was forked, although nobody told Python (docs/decisions/0020-forks.md).

The kernel clears the byte in a forked child: it lies in a page of its own that is marked MADV_WIPEONFORK (Linux 4.14). To read it
takes 12 ns, so that every read of a store can afford it; getpid(2) takes ten times as long.
"""

from __future__ import annotations

import mmap
import os
import sys
from typing import Final

from .requests import Flag

WIPE_ON_FORK: Final = 18  # MADV_WIPEONFORK, for which Python has no name


class PidFlag:
    """The same where the kernel has no such pages: it asks for the pid each time."""

    __slots__ = ("_pid", "_value")

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._value = 1

    def __getitem__(self, index: int, /) -> int:
        return self._value if os.getpid() == self._pid else 0

    def __setitem__(self, index: int, value: int, /) -> None:
        self._value = value


def raise_flag() -> Flag:
    """A flag that is 1 in this process, and in no child of it."""
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
