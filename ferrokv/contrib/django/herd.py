"""`get_or_set` that computes once: who misses a key first takes a lock among all processes, and the others wait for the value.

The locks stand in a keyspace of their own beside the cache's. A process that dies frees its lock.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, Final

from django.core.cache.backends.base import DEFAULT_TIMEOUT

from ferrokv import LockError

from .handles import Place

WAIT_SECONDS: Final = 30.0  # then the caller computes, too: better twice than never
POLL_SECONDS: Final = 0.005
LOOKS_EACH_TRY: Final = 50  # looks at the value between two tries to take the lock of somebody who may have died
LOCKS_SUFFIX: Final = ":locks"
# Keys that this thread or task is computing: computing one must not wait for itself.
_computing: ContextVar[frozenset[bytes]] = ContextVar("ferrokv_computing", default=frozenset())


@contextmanager
def _marked(name: bytes) -> Iterator[None]:
    token = _computing.set(_computing.get() | {name})
    try:
        yield
    finally:
        _computing.reset(token)


class Herd:
    """For a cache backend with `_place`, `_key`, `_ttl_ms`, and Django's methods."""

    _place: Place
    _missing_key: Any
    get: Any
    add: Any
    aget: Any
    aadd: Any

    def _key(self, key: Any, version: int | None) -> bytes:
        raise NotImplementedError

    def _ttl_ms(self, timeout: float | object | None) -> int | None:
        raise NotImplementedError

    def _locks(self) -> Place:
        return Place(self._place.path, self._place.keyspace + LOCKS_SUFFIX, self._place.options)

    def _is_shared(self, default: Any, name: bytes, timeout: Any) -> bool:
        """True if others could wait for this value: it has to be computed, and will be there."""
        ttl_ms = self._ttl_ms(timeout)
        return callable(default) and name not in _computing.get() and (ttl_ms is None or ttl_ms > 0)

    def get_or_set(self, key: Any, default: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> Any:
        """The cached value, or `default`: a value, or a callable, which runs in one thread of one process while others wait."""
        value = self.get(key, self._missing_key, version=version)
        if value is not self._missing_key:
            return value
        name = self._key(key, version)
        if not self._is_shared(default, name, timeout):
            return self._compute(key, default, timeout, version)
        lock = self._locks().blocking().lock(name, thread_local=False)
        deadline = time.monotonic() + WAIT_SECONDS
        while not lock.acquire(blocking=False):
            for _ in range(LOOKS_EACH_TRY):
                time.sleep(POLL_SECONDS)
                value = self.get(key, self._missing_key, version=version)
                if value is not self._missing_key:
                    return value
                if not self._locks().blocking().exists(name):
                    break
            if time.monotonic() > deadline:
                return self._compute(key, default, timeout, version)
        try:
            with _marked(name):
                value = self.get(key, self._missing_key, version=version)
                return self._compute(key, default, timeout, version) if value is self._missing_key else value
        finally:
            with suppress(LockError):  # cleared by somebody meanwhile
                lock.release()

    def _compute(self, key: Any, default: Any, timeout: Any, version: int | None) -> Any:
        if callable(default):
            default = default()
        self.add(key, default, timeout=timeout, version=version)
        return self.get(key, default, version=version)

    async def aget_or_set(
        self, key: Any, default: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> Any:
        """As `get_or_set`; `default` may be a coroutine function, too."""
        value = await self.aget(key, self._missing_key, version=version)
        if value is not self._missing_key:
            return value
        name = self._key(key, version)
        if not self._is_shared(default, name, timeout):
            return await self._acompute(key, default, timeout, version)
        db = await self._locks().native()
        lock = db.lock(name, thread_local=False)
        deadline = time.monotonic() + WAIT_SECONDS
        while not await lock.acquire(blocking=False):
            for _ in range(LOOKS_EACH_TRY):
                await asyncio.sleep(POLL_SECONDS)
                value = await self.aget(key, self._missing_key, version=version)
                if value is not self._missing_key:
                    return value
                if not await db.exists(name):
                    break
            if time.monotonic() > deadline:
                return await self._acompute(key, default, timeout, version)
        try:
            with _marked(name):
                value = await self.aget(key, self._missing_key, version=version)
                return await self._acompute(key, default, timeout, version) if value is self._missing_key else value
        finally:
            with suppress(LockError):
                await asyncio.shield(lock.release())

    async def _acompute(self, key: Any, default: Any, timeout: Any, version: int | None) -> Any:
        if callable(default):
            default = default()
        if inspect.isawaitable(default):
            default = await default
        await self.aadd(key, default, timeout=timeout, version=version)
        return await self.aget(key, default, version=version)
