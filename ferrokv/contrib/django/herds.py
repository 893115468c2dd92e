"""What a caller of `get_or_set` wishes for, and the keys that this thread or task is computing just now."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, NamedTuple

# Computing a key must not wait for itself.
_computing: Final[ContextVar[frozenset[bytes]]] = ContextVar("ferrokv_computing", default=frozenset())


class Wish(NamedTuple):
    """A key that is to hold `default`, or what that returns, for `ttl_ms`, and then be stale for `stale_ttl` seconds."""

    name: bytes
    default: Any
    ttl_ms: int | None
    stale_ttl: float | None
    tags: Sequence[str] | str | None

    def expiries(self) -> tuple[int | None, int | None]:
        """When the value becomes stale, in ms since 1970, and its TTL in ms. None for never."""
        if self.ttl_ms is None or self.stale_ttl is None:
            return None, self.ttl_ms
        return int(time.time() * 1000) + self.ttl_ms, self.ttl_ms + int(self.stale_ttl * 1000)


def is_shared(wish: Wish) -> bool:
    """True if others could wait for this value: it has to be computed, and will be there."""
    return callable(wish.default) and wish.name not in _computing.get() and (wish.ttl_ms is None or wish.ttl_ms > 0)


@contextmanager
def marked(name: bytes) -> Iterator[None]:
    """While this thread or task computes the key."""
    token = _computing.set(_computing.get() | {name})
    try:
        yield
    finally:
        _computing.reset(token)
