"""File descriptors are few. What stores keep open only to read it sooner is given back when something else finds none."""

from __future__ import annotations

import errno
import resource
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

NO_DESCRIPTORS: Final = frozenset({errno.EMFILE, errno.ENFILE})
_givers: dict[int, Callable[[], None]] = {}
"""Id of a storage of this process -> what closes the files that it can do without. Single dict operations: any thread"""


def descriptors_max() -> int:
    """How many descriptors this process may have."""
    soft: int = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return soft if soft != resource.RLIM_INFINITY else 1 << 20


def register(storage: object, give_back: Callable[[], None]) -> None:
    """Have `give_back` called when any storage of this process finds no descriptor."""
    _givers[id(storage)] = give_back


def forget(storage: object) -> None:
    """Take the registration back."""
    _givers.pop(id(storage), None)


def with_descriptor(call: Callable[[], T]) -> T:
    """The answer of a call that opens something. If no descriptor is free, all stores give back theirs, and it tries once more."""
    try:
        return call()
    except OSError as error:
        if error.errno not in NO_DESCRIPTORS:
            raise
    for give_back in list(_givers.values()):
        give_back()
    return call()
