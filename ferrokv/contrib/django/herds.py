"""What a caller of `get_or_set` wants, and the keys that this thread or task is computing.

aio/herd.py explains the protocol. A computation may ask for the key that it computes, directly or
through other keys. It would then wait for itself, so each thread or task marks the keys it is
computing, and a marked key is computed without the lock.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from typing import Any, Final, NamedTuple

from ..shared import FOREVER_SECONDS, NUMBERS

StoredName = tuple[str, str, bytes]
"""A key among all: directory, keyspace and name."""
# The keys being computed here, none of which may be waited for.
_computing: Final[ContextVar[frozenset[StoredName]]] = ContextVar("ferrokv_computing", default=frozenset())


class Computation(NamedTuple):
    """A key that should hold `default`, or its result, for `ttl_ms`.

    After that the value is stale, and is kept for another `stale_ttl` seconds.
    """

    stored_name: StoredName
    default: Any
    ttl_ms: int | None
    stale_ttl: float | None
    tags: Sequence[str] | str | None

    @property
    def name(self) -> bytes:
        """The stored key."""
        return self.stored_name[2]

    def expiries(self) -> tuple[int | None, int | None]:
        """Return when the value becomes stale (ms since 1970) and its TTL in ms; None is never."""
        if self.ttl_ms is None or self.stale_ttl is None:
            return None, self.ttl_ms
        soft_ms = int(time.time() * 1000) + self.ttl_ms
        if self.stale_ttl >= FOREVER_SECONDS:
            return soft_ms, None
        return soft_ms, self.ttl_ms + int(self.stale_ttl * 1000)


def checked_stale_ttl(given: float | timedelta | None) -> float | None:
    """Return how many seconds a stale value is kept. TypeError or ValueError for what is no such time."""
    seconds = given.total_seconds() if isinstance(given, timedelta) else given
    if seconds is None:
        return None
    if not isinstance(seconds, NUMBERS):
        raise TypeError(f"stale_ttl is a number of seconds or a timedelta: found={given!r}")
    if math.isnan(seconds) or seconds < 0:
        raise ValueError(f"stale_ttl cannot be negative, and must be a number: found={given!r}")
    return float(seconds)


def is_shared(computation: Computation) -> bool:
    """True if others can wait for this value: it has to be computed, and will be stored."""
    return (
        callable(computation.default)
        and computation.stored_name not in _computing.get()
        and (computation.ttl_ms is None or computation.ttl_ms > 0)
    )


@contextmanager
def marked(stored_name: StoredName) -> Iterator[None]:
    """Mark the key as being computed by this thread or task."""
    token = _computing.set(_computing.get() | {stored_name})
    try:
        yield
    finally:
        _computing.reset(token)
