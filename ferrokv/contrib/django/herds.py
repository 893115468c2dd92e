"""What a caller of `get_or_set` wishes for, and the keys that this thread or task is computing just now."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, NamedTuple

from ..opening import FOREVER_SECONDS

StoredName = tuple[str, str, bytes]
"""A key among all: its directory, keyspace and name."""
# Computing a key must not wait for itself.
_computing: Final[ContextVar[frozenset[StoredName]]] = ContextVar("ferrokv_computing", default=frozenset())


class Computation(NamedTuple):
    """A key that is to hold `default`, or what that returns, for `ttl_ms`, and then be stale for `stale_ttl` seconds."""

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
        """When the value becomes stale, in ms since 1970, and its TTL in ms. None for never."""
        if self.ttl_ms is None or self.stale_ttl is None:
            return None, self.ttl_ms
        soft_ms = int(time.time() * 1000) + self.ttl_ms
        if self.stale_ttl >= FOREVER_SECONDS:
            return soft_ms, None
        if math.isnan(self.stale_ttl):
            raise ValueError("stale_ttl is no number")
        return soft_ms, self.ttl_ms + int(max(self.stale_ttl, 0) * 1000)


def is_shared(computation: Computation) -> bool:
    """True if others could wait for this value: it has to be computed, and will be there."""
    return (
        callable(computation.default)
        and computation.stored_name not in _computing.get()
        and (computation.ttl_ms is None or computation.ttl_ms > 0)
    )


@contextmanager
def marked(stored_name: StoredName) -> Iterator[None]:
    """While this thread or task computes the key."""
    token = _computing.set(_computing.get() | {stored_name})
    try:
        yield
    finally:
        _computing.reset(token)
