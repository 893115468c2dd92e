"""Where a page's data came from, and how long that took: the point of the example site."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.cache import cache

STALE_SECONDS = 600


@dataclass(frozen=True)
class Provenance:
    """The source of a page's data, such as "cache" or "database"."""

    source: str
    microseconds: float

    @property
    def hit(self) -> bool:
        return self.source == "cache"

    def header(self) -> str:
        """The value of the header `X-Served-From`."""
        return f"{self.source}; {self.microseconds:.0f} us"


def remembered(
    key: str, compute: Callable[[], Any], tags: Sequence[str] = (), timeout: float | None = 600
) -> tuple[Any, Provenance]:
    """Return the cached value of `key`, or the result of `compute`, and where it came from.

    One process computes; the others wait, or get a stale value.
    """
    computed = False

    def noted() -> Any:
        nonlocal computed
        computed = True
        return compute()

    start = time.perf_counter()
    value = cache.get_or_set(key, noted, timeout, stale_ttl=STALE_SECONDS, tags=tags)
    return value, Provenance("database" if computed else "cache", (time.perf_counter() - start) * 1e6)
