"""Where a page's data came from, and how long that took: the point of the example site."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.core.cache import cache

_MISSING = object()


@dataclass(frozen=True)
class Provenance:
    """`source` is "cache" or "database"."""

    source: str
    microseconds: float

    @property
    def hit(self) -> bool:
        return self.source == "cache"

    def header(self) -> str:
        """The value of the header `X-Served-From`."""
        return f"{self.source}; {self.microseconds:.0f} us"


def remembered(key: str, compute: Callable[[], Any], timeout: float | None = 600) -> tuple[Any, Provenance]:
    """The cached value of `key`, or what `compute` says, which is then cached for `timeout` seconds."""
    start = time.perf_counter()
    value = cache.get(key, _MISSING)
    if value is not _MISSING:
        return value, Provenance("cache", (time.perf_counter() - start) * 1e6)
    value = compute()
    took = Provenance("database", (time.perf_counter() - start) * 1e6)
    cache.set(key, value, timeout)
    return value, took
