# Made by `python -m tools.make_twins` from contrib/django/aio/herd.py; edit that.
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

import inspect
import time
from contextlib import nullcontext, suppress
from typing import Any, Final

from ferrokv import LockError

from ...codecs.envelopes import Guard, seal_in
from ...codecs.values import MISSING
from ..herds import Computation, is_shared, marked
from ..pipelining import Pipelined
from .values import BlockingValues

# After this, a waiter computes too, even if a full disk kept the lock from being released: better
# twice than never.
WAIT_SECONDS: Final = 30.0
# A change of either key wakes a waiter at once, but nothing signals that the holder died.
LOOK_SECONDS: Final = 0.25


class BlockingHerd:
    """One of all who ask for a key that is missing, or whose value is stale."""

    __slots__ = ("_cache", "_wanted")

    def __init__(self, cache: BlockingValues, wanted: Computation) -> None:
        self._cache = cache
        self._wanted = wanted

    def value(self) -> Any:
        """Return the value: the one that is there, or that somebody else or this caller computes."""
        value, is_stale = self._look()
        if value is not MISSING and not is_stale:
            return value
        return self._compute_once() if is_shared(self._wanted) else self._compute()

    def _compute_once(self) -> Any:
        """Compute under the lock. Taking the lock, the value and the release share one sync.

        Others that try for the lock see it although it is not durable yet.
        """
        cache, wanted = self._cache, self._wanted
        with Pipelined(cache._location.path) as block:
            locks = cache._store(cache._locks_location)
            lock = locks.lock(wanted.name, WAIT_SECONDS, thread_local=False)
            deadline = time.monotonic() + WAIT_SECONDS
            while not lock.acquire(blocking=False):
                if time.monotonic() > deadline:
                    return self._compute(block)
                value = self._waited(deadline)
                if value is not MISSING:
                    return value
            try:
                with marked(wanted.stored_name):
                    value, is_stale = self._look()
                    return value if value is not MISSING and not is_stale else self._compute(block)
            finally:
                with suppress(LockError):  # somebody cleared it meanwhile
                    lock.release()

    def _waited(self, deadline: float) -> Any:
        """Wait for another caller's value. MISSING when it is time to try for the lock again."""
        cache, wanted = self._cache, self._wanted
        locks = cache._settled_store(cache._locks_location)  # durable now, so that the lock can be read
        lock = locks.lock(wanted.name)
        with locks.changes(wanted.name, also_in=cache._settled_store()) as changes:
            while True:
                value, is_stale = self._look()
                if value is not MISSING and (not is_stale or wanted.stale_ttl is not None):
                    return value
                if time.monotonic() > deadline or not lock.locked():
                    return MISSING
                changes.wait(LOOK_SECONDS)

    def _look(self) -> tuple[Any, bool]:
        """Return the value or MISSING, and whether it is stale."""
        cache = self._cache
        stored = (cache._store()).get(self._wanted.name)
        if stored is None:
            return MISSING, False
        inner, is_stale = cache._open(stored)
        return MISSING if inner is None else cache._codec.decode(inner), is_stale

    def _compute(self, block: Pipelined | None = None) -> Any:
        cache, wanted = self._cache, self._wanted
        guard = cache._guard(wanted.tags)  # before the computation
        value = wanted.default
        with nullcontext() if block is None else block.aside():
            if callable(value):
                value = value()
            if inspect.iscoroutine(value):
                value.close()
                raise TypeError("the default of get_or_set is a coroutine function: use aget_or_set, or a plain one")
        if wanted.ttl_ms is not None and wanted.ttl_ms <= 0:
            return value
        self._keep(cache._encode(value), guard)
        found, is_stale = self._look()
        return value if found is MISSING or is_stale else found

    def _keep(self, stored: bytes, guard: Guard | None) -> None:
        soft_ms, ttl_ms = self._wanted.expiries()
        db = self._cache._store()
        self._cache._put_if_missing(db, self._wanted.name, seal_in(stored, soft_ms, guard), ttl_ms)
