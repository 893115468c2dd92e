"""What makes aiocache's `RedLock` hold across processes and event loops, which alone it only does among the tasks of one loop.

RedLock calls the hook `_add` with a fresh uuid and its lease, and takes a ValueError as "somebody else of this loop has it": a
holder in another process it does not wait for. So the hook itself waits, for as long as the lease at most, as RedLock says.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from typing import Any, Final

from aiocache.lock import RedLock

from ferrokv import FerroKV, StoreUncertain

logger = logging.getLogger("ferrokv.contrib.aiocache")

GONE: Final = -2  # what PTTL says of a key that is not there
NOT_GIVEN: Any = object()
_taking_back: set[asyncio.Future[bool]] = set()  # a loop keeps only weak references to its tasks
_UUID4: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def is_lock(value: Any, conn: Any) -> bool:
    """True for `_add` by a RedLock: `add` always gives a connection, and nobody else such values."""
    return conn is NOT_GIVEN and isinstance(value, str) and _UUID4.fullmatch(value) is not None


async def take_lock(db: FerroKV, key: Any, value: str, lease_ms: int | None) -> bool:
    """True once the key holds the value, or when the lease has passed meanwhile: then, says RedLock, callers proceed.

    Without a lease a dead holder would be waited for in vain, so there is no waiting. `ValueError` if the key is held.
    """
    deadline = None if lease_ms is None else time.monotonic() + lease_ms / 1000
    try:
        while await db.set(key, value, px=lease_ms, nx=True) is not True:
            if deadline is None:
                raise ValueError(f"Key {key} already exists, use .set to update the value")
            if await _is_held_until(db, key, deadline):
                return True
    except (asyncio.CancelledError, StoreUncertain):
        # The taking may be on its way, and nobody will release it: it is taken back behind it.
        task = asyncio.ensure_future(db.compare_and_delete(key, value))
        _taking_back.add(task)
        task.add_done_callback(_taken_back)
        raise
    return True


async def _is_held_until(db: FerroKV, key: Any, deadline: float) -> bool:
    """True if the deadline came while the key was held; False as soon as it is free."""
    with db.changes(key) as changes:
        while (left_ms := await db.pttl(key)) != GONE:
            left = deadline - time.monotonic()
            if left <= 0:
                return True
            expires = left if left_ms < 0 else (left_ms + 1) / 1000
            await changes.wait(min(left, expires))
    return False


def _taken_back(task: asyncio.Future[bool]) -> None:
    _taking_back.discard(task)
    if not task.cancelled() and task.exception() is not None:
        logger.warning("a lock that nobody waits for any more stays until its lease is over: %r", task.exception())


class Events(dict[Any, asyncio.Event]):
    """RedLock's events by key, of all loops. Its holders take them out without looking whether they are still there.

    In another loop the next holder may have come and gone meanwhile, and have taken this one's along.
    """

    def pop(self, key: Any, *default: Any) -> Any:
        """The event, or one that nobody waits for."""
        return super().pop(key, *(default or (asyncio.Event(),)))


def forget_event(key: Any) -> None:
    """RedLock forgets its event only where it releases the key: that of a lock which was lost by time would be kept for ever."""
    getattr(RedLock, "_EVENTS", {}).pop(key, None)


if hasattr(RedLock, "_EVENTS"):
    RedLock._EVENTS = Events(RedLock._EVENTS)
