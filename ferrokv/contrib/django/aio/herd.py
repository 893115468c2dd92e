"""`get_or_set` that computes once: who misses a key first takes a lock among all processes, and the others wait for the value.

With `stale_ttl` they do not even wait, but get the value that has just run out. The locks stand in a keyspace of their own beside
the cache's. A process that dies frees its lock.
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

# Then another computes, too, also if a lock could not be freed because the disk was full: better twice than never.
WAIT_SECONDS: Final = 30.0
# A change of either key wakes at once; nothing tells that the holder died, so that is looked for as soon as ever.
LOOK_SECONDS: Final = 0.25


class AsyncHerd(AsyncExtras):
    """The herd is whoever asks for a key that is missing."""

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
        """The cached value, or `default`: a value, or a callable, which one caller among all processes runs while the others wait.

        With `stale_ttl` the value is kept that many seconds longer than its timeout, and who asks for it while it is computed anew
        gets the old one at once. An invalidation of `tags` counts from before the computation, so what was computed from old data
        does not outlive it. An asynchronous caller's `default` may be a coroutine function.
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
        """One sync for taking the lock, the value, and letting go of the lock: others who try for it see what is appended."""
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
                with suppress(LockError):  # cleared by somebody meanwhile
                    await asyncio.shield(lock.release())

    async def _a_waited(self, computation: Computation, deadline: float) -> Any:
        """What somebody else computed, or is good enough until then; MISSING if it is time to try for the lock again."""
        locks = await self._a_settled_store(self._locks_place)  # where a lock can be read, since it is durable now
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
        """The value or MISSING, and whether it is stale."""
        stored = await (self._a_ready() or await self._a_store()).get(name)
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
            if inspect.isawaitable(value):
                value = await value
        if computation.ttl_ms is not None and computation.ttl_ms <= 0:
            return value
        await self._a_keep(computation, await self._a_encode(value), guard)
        found, is_stale = await self._a_look(computation.name)
        return value if found is MISSING or is_stale else found

    async def _a_keep(self, computation: Computation, stored: bytes, guard: Guard | None) -> None:
        soft_ms, ttl_ms = computation.expiries()
        db = self._a_ready() or await self._a_store()
        await self._a_put_if_missing(db, computation.name, seal_in(stored, soft_ms, guard), ttl_ms)
