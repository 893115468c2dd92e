"""What the adapters share: opening a keyspace with the size that it may have, and TTLs in seconds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ferrokv import BlockingFerroKV, FerroKV

UNCHANGED: Final[Any] = object()
"""A quota that is left as it is."""
FOREVER_SECONDS: Final = 1e12
"""30,000 years; what is longer has no end."""


def open_bounded(path: Any, keyspace: str, options: Mapping[str, Any], max_bytes: Any) -> BlockingFerroKV:
    """A handle whose keyspace has the quota, before anybody can write through it. It is closed if that can not be had."""
    handle = BlockingFerroKV.open(path, keyspace=keyspace, **options)
    if max_bytes is not UNCHANGED:
        try:
            handle.set_quota(max_bytes)
        except BaseException:  # interrupted, too: nobody else would close it
            handle.close()
            raise
    return handle


async def open_bounded_later(path: Any, keyspace: str, options: Mapping[str, Any], max_bytes: Any) -> FerroKV:
    """As `open_bounded`, for event loops."""
    handle = await FerroKV.open(path, keyspace=keyspace, **options)
    if max_bytes is not UNCHANGED:
        try:
            await handle.set_quota(max_bytes)
        except BaseException:  # cancelled, too: nobody else would close it
            await handle.close()
            raise
    return handle


def whole_ms(seconds: float | None) -> int | None:
    """A TTL in ms that is at least one; None and 0 are "for ever", as is what is longer than anybody waits. ValueError for NaN."""
    return max(1, round(max(seconds, 0) * 1000)) if seconds and not seconds >= FOREVER_SECONDS else None
