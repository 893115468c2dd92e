"""`get_or_set` without a thundering herd: one caller computes a value, the others wait for it.

1. A caller that misses a key tries to take a lock in the keyspace `<cache>:locks`. The holder looks
   for the value once more, computes it, sets it unless another caller has, and releases the lock.
   All of that is one deferral, so a miss costs one sync.
2. Callers that do not get the lock watch the lock and the value. Each returns the value as soon as
   it is there, or tries for the lock again once it is free. With `stale_ttl` they do not wait, but
   get the value that has just expired.
3. If the holder dies, its lock is free; waiters check for that every LOOK_SECONDS. After
   WAIT_SECONDS the lock expires, and a waiter computes the value itself.

A computation that asks for its own key does not wait for itself (herds.py).
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from typing import Any, Final

from django.core.cache.backends.base import DEFAULT_TIMEOUT

from ferrokv import LockError

from ...codecs.envelopes import Guard, seal_in
from ...codecs.values import MISSING
from ..herds import Computation, is_shared, marked
from ..pipelining import Pipelined
from .extras import AsyncExtras

# After this, a waiter computes too, even if a full disk kept the lock from being released: better
# twice than never.
WAIT_SECONDS: Final = 30.0
# A change of either key wakes a waiter at once, but nothing signals that the holder died.
LOOK_SECONDS: Final = 0.25


class AsyncHerd(AsyncExtras):
    """The herd is everybody who asks for a missing key."""

    async def aget_or_set(
        self,
        key: Any,
        default: Any,
        timeout: Any = DEFAULT_TIMEOUT,
        version: int | None = None,
        *,
        stale_ttl: float | None = None,
        tags: Sequence[str] | str | None = None,
    ) -> Any:
        """Return the cached value, or compute it: one caller in all processes, the others wait.

        `default` is a value, or a callable that computes it; for asyncio, also a coroutine function.
        With `stale_ttl`, the value is kept that many seconds beyond its timeout, and callers get
        the old value at once while a new one is computed. An invalidation of `tags` during the
        computation counts, so a value computed from old data does not survive it.
        """
        name = self._key(key, version)
        value, is_stale = await self._a_look(name)
        if value is not MISSING and not is_stale:
            return value
        computation = Computation(
            (self._place.path, self._place.keyspace, name), default, self._ttl_ms(timeout), stale_ttl, tags
        )
        if not is_shared(computation):
            return await self._a_compute(computation)
        return await self._a_compute_once(computation)

    async def _a_compute_once(self, computation: Computation) -> Any:
        """Compute under the lock. Taking the lock, the value and the release share one sync.

        Others that try for the lock see it although it is not durable yet.
        """
        async with Pipelined(self._place.path) as block:
            locks = await self._a_store(self._locks_place)
            lock = locks.lock(computation.name, WAIT_SECONDS, thread_local=False)
            deadline = time.monotonic() + WAIT_SECONDS
            while not await lock.acquire(blocking=False):
                if time.monotonic() > deadline:
                    return await self._a_compute(computation, block)
                value = await self._a_waited(computation, deadline)
                if value is not MISSING:
                    return value
            try:
                with marked(computation.stored_name):
                    value, is_stale = await self._a_look(computation.name)
                    return value if value is not MISSING and not is_stale else await self._a_compute(computation, block)
            finally:
                with suppress(LockError):  # somebody cleared it meanwhile
                    if True:  # ASYNC
                        await asyncio.shield(lock.release())
                    else:
                        lock.release()

    async def _a_waited(self, computation: Computation, deadline: float) -> Any:
        """Wait for another caller's value. MISSING when it is time to try for the lock again."""
        locks = await self._a_settled_store(self._locks_place)  # durable now, so that the lock can be read
        lock = locks.lock(computation.name)
        with locks.changes(computation.name, beside=await self._a_settled_store()) as changes:
            while True:
                value, is_stale = await self._a_look(computation.name)
                if value is not MISSING and (not is_stale or computation.stale_ttl is not None):
                    return value
                if time.monotonic() > deadline or not await lock.locked():
                    return MISSING
                await changes.wait(LOOK_SECONDS)

    async def _a_look(self, name: bytes) -> tuple[Any, bool]:
        """Return the value or MISSING, and whether it is stale."""
        stored = await (await self._a_store()).get(name)
        if stored is None:
            return MISSING, False
        inner, is_stale = await self._a_open(stored)
        return MISSING if inner is None else self._codec.decode(inner), is_stale

    async def _a_compute(self, computation: Computation, block: Pipelined | None = None) -> Any:
        guard = await self._a_guard(computation.tags)  # before the computation
        value = computation.default
        with nullcontext() if block is None else block.aside():
            if callable(value):
                value = value()
            if True:  # ASYNC
                if inspect.isawaitable(value):
                    value = await value
        if computation.ttl_ms is not None and computation.ttl_ms <= 0:
            return value
        await self._a_keep(computation, await self._a_encode(value), guard)
        found, is_stale = await self._a_look(computation.name)
        return value if found is MISSING or is_stale else found

    async def _a_keep(self, computation: Computation, stored: bytes, guard: Guard | None) -> None:
        soft_ms, ttl_ms = computation.expiries()
        db = await self._a_store()
        await self._a_put_if_missing(db, computation.name, seal_in(stored, soft_ms, guard), ttl_ms)
