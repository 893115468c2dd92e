# Made by `python -m tools.make_twins` from contrib/django/aio/herd.py; edit that.
"""`get_or_set` that computes once: who misses a key first takes a lock among all processes, and the others wait for the value.

With `stale_ttl` they do not even wait, but get the value that has just run out. The locks stand in a keyspace of their own beside
the cache's. A process that dies frees its lock.
"""

from __future__ import annotations

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
from .extras import BlockingExtras

# Then another computes, too, also if a lock could not be freed because the disk was full: better twice than never.
WAIT_SECONDS: Final = 30.0
# A change of either key wakes at once; nothing tells that the holder died, so that is looked for as soon as ever.
LOOK_SECONDS: Final = 0.25


class BlockingHerd(BlockingExtras):
    """The herd is whoever asks for a key that is missing."""

    def get_or_set(
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
        does not outlive it.
        """
        name = self._key(key, version)
        value, is_stale = self._look(name)
        if value is not MISSING and not is_stale:
            return value
        computation = Computation(
            (self._place.path, self._place.keyspace, name), default, self._ttl_ms(timeout), stale_ttl, tags
        )
        if not is_shared(computation):
            return self._compute(computation)
        return self._compute_once(computation)

    def _compute_once(self, computation: Computation) -> Any:
        """One sync for taking the lock, the value, and letting go of the lock: others who try for it see what is appended."""
        with Pipelined(self._place.path) as block:
            locks = self._store(self._locks_place)
            lock = locks.lock(computation.name, WAIT_SECONDS, thread_local=False)
            deadline = time.monotonic() + WAIT_SECONDS
            while not lock.acquire(blocking=False):
                if time.monotonic() > deadline:
                    return self._compute(computation, block)
                value = self._waited(computation, deadline)
                if value is not MISSING:
                    return value
            try:
                with marked(computation.stored_name):
                    value, is_stale = self._look(computation.name)
                    return value if value is not MISSING and not is_stale else self._compute(computation, block)
            finally:
                with suppress(LockError):  # cleared by somebody meanwhile
                    lock.release()

    def _waited(self, computation: Computation, deadline: float) -> Any:
        """What somebody else computed, or is good enough until then; MISSING if it is time to try for the lock again."""
        locks = self._settled_store(self._locks_place)  # where a lock can be read, since it is durable now
        lock = locks.lock(computation.name)
        with locks.changes(computation.name, beside=self._settled_store()) as changes:
            while True:
                value, is_stale = self._look(computation.name)
                if value is not MISSING and (not is_stale or computation.stale_ttl is not None):
                    return value
                if time.monotonic() > deadline or not lock.locked():
                    return MISSING
                changes.wait(LOOK_SECONDS)

    def _look(self, name: bytes) -> tuple[Any, bool]:
        """The value or MISSING, and whether it is stale."""
        stored = (self._ready() or self._store()).get(name)
        if stored is None:
            return MISSING, False
        inner, is_stale = self._open(stored)
        return MISSING if inner is None else self._codec.decode(inner), is_stale

    def _compute(self, computation: Computation, block: Pipelined | None = None) -> Any:
        guard = self._guard(computation.tags)  # before the computation
        value = computation.default
        with nullcontext() if block is None else block.aside():
            if callable(value):
                value = value()
        if computation.ttl_ms is not None and computation.ttl_ms <= 0:
            return value
        self._keep(computation, self._encode(value), guard)
        found, is_stale = self._look(computation.name)
        return value if found is MISSING or is_stale else found

    def _keep(self, computation: Computation, stored: bytes, guard: Guard | None) -> None:
        soft_ms, ttl_ms = computation.expiries()
        db = self._ready() or self._store()
        self._put_if_missing(db, computation.name, seal_in(stored, soft_ms, guard), ttl_ms)
