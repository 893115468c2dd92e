"""Sleeping on a word that processes share, and waking who sleeps: futex(2) through ctypes, on Linux.

The kernel compares the low half of the word with what the caller saw, and puts it to sleep in the same step, so no wake-up falls
between the two. Elsewhere there is nothing like it that works across processes: who waits there looks every few milliseconds.
"""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Callable
from functools import cache
from typing import Any, Final, NamedTuple

from .requests import Words

POLL_SECONDS: Final = 0.003  # where there is no futex
LOW_HALF: Final = 0xFFFFFFFF
_WAIT: Final = 0  # FUTEX_WAIT and FUTEX_WAKE, without the flag for memory that only one process uses
_WAKE: Final = 1
_ALL: Final = 0x7FFFFFFF
_NUMBERS: Final = {"x86_64": 202, "aarch64": 98, "riscv64": 98, "loongarch64": 98, "ppc64le": 221, "s390x": 238}
_LOW_OFFSET: Final = 0 if sys.byteorder == "little" else 4


class Futex(NamedTuple):
    """The two calls, on the low half of a word."""

    wait: Callable[[Words, int, int, float], None]
    wake: Callable[[Words, int], None]


@cache
def find_futex() -> Futex | None:
    """The calls of this system; None if it has none that this Python can reach. The first call imports ctypes."""
    number = _NUMBERS.get(platform.machine())
    if sys.platform != "linux" or number is None or sys.maxsize < 1 << 32:
        return None
    try:
        import ctypes
    except ImportError:
        return None

    class Time(ctypes.Structure):
        """`struct timespec` of a machine of 64 bits."""

        _fields_ = (("seconds", ctypes.c_int64), ("nanoseconds", ctypes.c_int64))

    word: Any = ctypes.c_uint32
    libc: Any = ctypes.CDLL(None)  # lets other threads run during a call
    # Does not: waking takes a microsecond, and handing the interpreter over takes longer.
    quick: Any = ctypes.PyDLL(None)
    if not hasattr(libc, "syscall") or quick.syscall(number, ctypes.byref(word()), _WAKE, 0, None, None, 0) != 0:
        return None  # a sandbox does not allow it

    def wait(words: Words, index: int, seen: int, seconds: float) -> None:
        whole = int(seconds)
        limit = Time(whole, int((seconds - whole) * 1e9))
        # The object keeps the page mapped during the call, and no longer.
        half = word.from_buffer(words, index * 8 + _LOW_OFFSET)
        libc.syscall(number, ctypes.byref(half), _WAIT, word(seen & LOW_HALF), ctypes.byref(limit), None, 0)

    def wake(words: Words, index: int) -> None:
        half = word.from_buffer(words, index * 8 + _LOW_OFFSET)
        quick.syscall(number, ctypes.byref(half), _WAKE, _ALL, None, None, 0)

    return Futex(wait, wake)


def wait_for_word(words: Words, index: int, seen: int, seconds: float) -> None:
    """Sleep while the low half of a word is `seen` and nobody wakes, for so long at most. May return early. Blocks."""
    futex = find_futex()
    if futex is None:
        time.sleep(min(seconds, POLL_SECONDS))
    else:
        futex.wait(words, index, seen, seconds)


def wake_for_word(words: Words, index: int) -> None:
    """Wake all who sleep on a word, in every process."""
    futex = find_futex()
    if futex is not None:
        futex.wake(words, index)
