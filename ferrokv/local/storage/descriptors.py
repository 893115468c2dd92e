"""Sharing the process's file descriptors.

Descriptors are limited, and stores keep table files open only to save the time of opening them
again. When anything finds no free descriptor, all stores of the process close what they can do
without.
"""

from __future__ import annotations

import errno
import resource
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

NO_DESCRIPTORS: Final = frozenset({errno.EMFILE, errno.ENFILE})
_givers: dict[int, Callable[[], None]] = {}
"""Id of a storage of this process -> a function that closes the files it can do without.

Any thread may use it: each use is a single dict operation.
"""


def descriptors_max() -> int:
    """Return how many descriptors this process may have: its soft limit."""
    soft: int = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return soft if soft != resource.RLIM_INFINITY else 1 << 20


def register(storage: object, give_back: Callable[[], None]) -> None:
    """Register `give_back`, to be called when any storage of this process finds no free descriptor."""
    _givers[id(storage)] = give_back


def forget(storage: object) -> None:
    """Undo `register`."""
    _givers.pop(id(storage), None)


def with_descriptor(call: Callable[[], T]) -> T:
    """Call a function that opens something, and return its result.

    If no descriptor is free, all stores close the files they can do without, and the call is
    repeated once.
    """
    try:
        return call()
    except OSError as error:
        if error.errno not in NO_DESCRIPTORS:
            raise
    for give_back in list(_givers.values()):
        give_back()
    return call()
