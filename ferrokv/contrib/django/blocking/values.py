# Made by `python -m tools.make_twins` from contrib/django/aio/values.py; edit that.
"""The values of a cache: where they are stored, and whether one that is there still counts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from ferrokv import WriteBatch

from ...codecs.envelopes import (
    ENVELOPES,
    EPOCH,
    STALE,
    Guard,
    make_guard,
    open_envelope,
    tokens_match,
    without_soft_expiry,
)
from ...codecs.values import MISSING
from ..base import CacheBase
from ..handles import CacheLocation
from ..pipelining import CURRENT, current

if TYPE_CHECKING:
    from ferrokv.contract.blocking.cache import BlockingCache
    from ferrokv.contract.blocking.stores import BlockingStore

TRIES_MAX: Final = 100


class BlockingValues(CacheBase):
    """The store behind the cache, and the liveness of values.

    A value that is still stored counts as missing once its tags are invalidated or its soft expiry
    has passed.
    """

    def _store(self, location: CacheLocation | None = None) -> BlockingCache:
        """Return the commands of the store; inside `pipelined`, those of its deferral."""
        location = location or self._location
        pipelined = CURRENT.get()
        if pipelined is None:
            return location.blocking
        handle = location.blocking.ready()
        deferral = pipelined.deferral(handle, location.path)
        return handle if deferral is None else handle.within(deferral, forgiving=self._ignores_failures)

    def _settled_store(self, location: CacheLocation | None = None) -> BlockingStore:
        """Return the store itself, once all that `pipelined` has written to it is durable."""
        location = location or self._location
        pipelined = current()
        if pipelined is not None:
            pipelined.settle(location.path)
        return location.blocking.ready()

    def _open(self, stored: bytes, tokens: dict[bytes, bytes | None] | None = None) -> tuple[bytes | None, bool]:
        """Unwrap a value: return it, or None if its tags were invalidated, and whether it is stale.

        `tokens` caches the tokens that this call has looked up.
        """
        if stored[:1] not in ENVELOPES:
            return stored, False
        opened = open_envelope(stored)
        if opened is None:
            return None, False
        if opened.guard is not None:
            tokens = {} if tokens is None else tokens
            names = [name for name in opened.guard.names if name not in tokens]
            if names:
                tags = self._store(self._tags_location)
                for name in names:
                    tokens[name] = tags.get(name)
            if not tokens_match(opened.guard, tokens.get):
                return None, False
        return opened.inner, opened.soft_ms is not None and opened.soft_ms <= time.time() * 1000

    def _value(self, stored: bytes | None, tokens: dict[bytes, bytes | None] | None = None) -> Any:
        """Return what `get` returns, or MISSING."""
        if stored is None:
            return MISSING
        inner, is_stale = self._open(stored, tokens)
        return MISSING if inner is None or is_stale else self._codec.decode(inner)

    def _is_live(self, stored: bytes | None) -> bool:
        """True if `get` returns the value.

        The value is loaded to find out, for callers that would otherwise keep an unusable one.
        """
        return self._value(stored) is not MISSING

    def _is_there(self, stored: bytes | None, tokens: dict[bytes, bytes | None] | None = None) -> bool:
        """As `_is_live`, but without loading the value, so one whose class is gone counts."""
        if stored is None:
            return False
        inner, is_stale = self._open(stored, tokens)
        return inner is not None and not is_stale and self._codec.verifies(inner)

    def _guard(self, tags: Sequence[str] | str | None) -> Guard | None:
        """Return the tags with their current tokens; None without tags."""
        names = self._tag_names(tags or ())
        if not names:
            return None
        store = self._store(self._tags_location)
        return make_guard(names, [store.get(name) for name in (EPOCH, *names)])

    def _put(self, db: BlockingCache, name: bytes, stored: bytes, ttl_ms: int | None) -> None:
        """Set a key, whatever it held."""
        if CURRENT.get() is not None:
            db.write(WriteBatch().set(name, stored, px=ttl_ms))
        elif ttl_ms is None:
            db.set(name, stored)
        else:
            db.psetex(name, ttl_ms, stored)

    def _put_if_missing(self, db: BlockingCache, name: bytes, stored: bytes, ttl_ms: int | None) -> bool:
        """Set a key if it holds nothing that counts. Returns True if it was set."""
        for _ in range(TRIES_MAX):
            if db.set(name, stored, px=ttl_ms, nx=True) is True:
                return True
            found = db.get(name)
            if self._is_live(found):
                return False
            if found is not None:
                db.compare_and_delete(name, found)
        return False  # other callers keep writing it

    def _make_plain(self, db: BlockingCache, name: bytes) -> bool:
        """Remove the soft expiry of a value, so that only its TTL counts, which the caller changes.

        Returns True if `get` finds a value under the key.
        """
        found = db.get(name)
        if found is None or not self._is_there(found):
            return False
        return found[:1] != STALE or bool(db.compare_and_set(name, found, without_soft_expiry(found)))

    def _expire_in(self, name: bytes, ttl_ms: int | None) -> bool:
        """Start a timeout; None is none. Returns True if there is a value."""
        db = self._store()
        if not self._make_plain(db, name):
            return False
        if ttl_ms is None:
            return db.getex(name, persist=True) is not None
        return bool(db.pexpire(name, ttl_ms))

    def _live_names(self, db: BlockingCache, names: Sequence[bytes]) -> list[bytes]:
        """Return those of the names whose values count."""
        stored = db.mget(names) if names else []
        tokens: dict[bytes, bytes | None] = {}
        return [name for name, found in zip(names, stored, strict=True) if self._is_there(found, tokens)]
