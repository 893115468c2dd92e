"""What the adapters share: opening a keyspace once and with the size that it may have, and TTLs in seconds."""

from __future__ import annotations

import asyncio
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


class Turns:
    """A lock for those of one event loop who need a handle at once: the first opens it, the others find it.

    It belongs to the loop that asked last. So two loops may both open, and who opens still has to look whether another was faster.
    """

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last: tuple[asyncio.AbstractEventLoop, asyncio.Lock] | None = None

    def lock(self) -> asyncio.Lock:
        """The lock of the running loop."""
        loop = asyncio.get_running_loop()
        last = self._last
        if last is None or last[0] is not loop:
            last = self._last = (loop, asyncio.Lock())
        return last[1]


def whole_ms(seconds: float | None) -> int | None:
    """A TTL in ms that is at least one; None and 0 are "for ever", as is what is longer than anybody waits. ValueError for NaN."""
    return max(1, round(max(seconds, 0) * 1000)) if seconds and not seconds >= FOREVER_SECONDS else None
