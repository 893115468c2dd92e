"""Makes aiocache's `RedLock` exclusive across processes and event loops.

On its own, it excludes only tasks of the same event loop: it calls the hook `_add` with a fresh
uuid and its lease, and takes a ValueError to mean that another task of this loop holds the lock. It
would not wait for a holder in another process. So the hook itself waits, for at most the lease,
after which RedLock proceeds by design.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from typing import TYPE_CHECKING, Any, Final

from aiocache.lock import RedLock

from ferrokv import StoreUncertain

if TYPE_CHECKING:
    from ferrokv.contract.aio.cache import AsyncCacheStore

logger = logging.getLogger("ferrokv.contrib.aiocache")

GONE: Final = -2  # PTTL of a missing key
NOT_GIVEN: Any = object()
_taking_back: set[asyncio.Future[bool]] = set()  # event loops keep only weak references to tasks
_UUID4: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def is_lock(value: Any, conn: Any) -> bool:
    """True if RedLock called `_add`: it passes a uuid and no connection."""
    return conn is NOT_GIVEN and isinstance(value, str) and _UUID4.fullmatch(value) is not None


async def take_lock(db: AsyncCacheStore, key: Any, value: str, lease_ms: int | None) -> bool:
    """Take the lock, waiting while it is held, and return True.

    Also returns True if the lease passes meanwhile: then, by RedLock's design, callers proceed.
    Without a lease, a dead holder would be waited for in vain, so it does not wait: `ValueError` if
    the key is held.
    """
    deadline = None if lease_ms is None else time.monotonic() + lease_ms / 1000
    try:
        while await db.set(key, value, px=lease_ms, nx=True) is not True:
            if deadline is None:
                raise ValueError(f"Key {key} already exists, use .set to update the value")
            if await _is_held_until(db, key, deadline):
                return True
    except (asyncio.CancelledError, StoreUncertain):
        # The write may still happen, and nobody will release the lock. Queue its removal after it.
        task = asyncio.ensure_future(db.compare_and_delete(key, value))
        _taking_back.add(task)
        task.add_done_callback(_taken_back)
        raise
    return True


async def _is_held_until(db: AsyncCacheStore, key: Any, deadline: float) -> bool:
    """Wait until the key is free (False), or until the deadline (True)."""
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
        logger.warning("an abandoned lock stays until its lease expires: %r", task.exception())


class Events(dict[Any, asyncio.Event]):
    """RedLock's events of all loops, by key. A holder removes its own without checking for it.

    In another loop, the next holder may have come and gone meanwhile and removed this holder's
    event.
    """

    def pop(self, key: Any, *default: Any) -> Any:
        """Remove and return the event, or return one that nobody waits for."""
        return super().pop(key, *(default or (asyncio.Event(),)))


def forget_event(key: Any) -> None:
    """Remove RedLock's event for a lock that was lost to its timeout.

    RedLock removes the event only where it releases the key, so this one would stay forever.
    """
    getattr(RedLock, "_EVENTS", {}).pop(key, None)


if hasattr(RedLock, "_EVENTS"):
    RedLock._EVENTS = Events(RedLock._EVENTS)
