"""Sleeping on a shared word, and waking the sleepers: futex(2) on Linux, called through ctypes.

The kernel compares the low half of the word with the value that the caller saw, and puts the caller
to sleep, in one step. So no wake-up is lost in between. Other systems have nothing of the kind that
works across processes; a caller there polls every few milliseconds.
"""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Callable
from functools import cache
from typing import Any, Final, NamedTuple

from .requests import Words

POLL_SECONDS: Final = 0.003  # how often to look where there is no futex
LOW_HALF: Final = 0xFFFFFFFF
_WAIT: Final = 0  # FUTEX_WAIT and FUTEX_WAKE, without FUTEX_PRIVATE_FLAG, since processes share the word
_WAKE: Final = 1
_ALL: Final = 0x7FFFFFFF
_NUMBERS: Final = {"x86_64": 202, "aarch64": 98, "riscv64": 98, "loongarch64": 98, "ppc64le": 221, "s390x": 238}
_LOW_OFFSET: Final = 0 if sys.byteorder == "little" else 4


class Futex(NamedTuple):
    """The wait and wake calls, which work on the low half of a word."""

    wait: Callable[[Words, int, int, float], None]
    wake: Callable[[Words, int], None]


@cache
def find_futex() -> Futex | None:
    """Return the futex calls; None if this system has none or Python cannot call them.

    The first call imports ctypes.
    """
    number = _NUMBERS.get(platform.machine())
    if sys.platform != "linux" or number is None or sys.maxsize < 1 << 32:
        return None
    try:
        import ctypes
    except ImportError:
        return None

    class Time(ctypes.Structure):
        """`struct timespec` on a 64-bit machine."""

        _fields_ = (("seconds", ctypes.c_int64), ("nanoseconds", ctypes.c_int64))

    word: Any = ctypes.c_uint32
    libc: Any = ctypes.CDLL(None)  # releases the GIL during a call
    # Keeps the GIL: waking takes a microsecond, which is less than releasing the GIL and taking it
    # again.
    quick: Any = ctypes.PyDLL(None)
    if not hasattr(libc, "syscall") or quick.syscall(number, ctypes.byref(word()), _WAKE, 0, None, None, 0) != 0:
        return None  # for example, a sandbox forbids the call

    def wait(words: Words, index: int, seen: int, seconds: float) -> None:
        whole = int(seconds)
        limit = Time(whole, int((seconds - whole) * 1e9))
        # `half` keeps the page mapped, until the call has returned.
        half = word.from_buffer(words, index * 8 + _LOW_OFFSET)
        libc.syscall(number, ctypes.byref(half), _WAIT, word(seen & LOW_HALF), ctypes.byref(limit), None, 0)

    def wake(words: Words, index: int) -> None:
        half = word.from_buffer(words, index * 8 + _LOW_OFFSET)
        quick.syscall(number, ctypes.byref(half), _WAKE, _ALL, None, None, 0)

    return Futex(wait, wake)


def wait_for_word(words: Words, index: int, seen: int, seconds: float) -> None:
    """Sleep until somebody wakes the word, for at most `seconds`. Blocks.

    Returns at once if the low half of the word is not `seen`, and may return early for no reason.
    Where there is no futex, it just sleeps for a few milliseconds at most.
    """
    futex = find_futex()
    if futex is None:
        time.sleep(min(seconds, POLL_SECONDS))
    else:
        futex.wait(words, index, seen, seconds)


def wake_for_word(words: Words, index: int) -> None:
    """Wake everyone who sleeps on a word, in every process."""
    futex = find_futex()
    if futex is not None:
        futex.wake(words, index)
