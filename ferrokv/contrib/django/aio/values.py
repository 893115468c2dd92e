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
    from ferrokv.contract.aio.cache import AsyncCache
    from ferrokv.contract.aio.stores import AsyncStore

TRIES_MAX: Final = 100


class AsyncValues(CacheBase):
    """The store behind the cache, and the liveness of values.

    A value that is still stored counts as missing once its tags are invalidated or its soft expiry
    has passed.
    """

    async def _a_store(self, location: CacheLocation | None = None) -> AsyncCache:
        """Return the commands of the store; inside `pipelined`, those of its deferral."""
        location = location or self._location
        pipelined = CURRENT.get()
        if pipelined is None:
            return location.native
        handle = await location.native.ready()
        deferral = pipelined.deferral(handle, location.path)
        return handle if deferral is None else handle.within(deferral, forgiving=self._ignores_failures)

    async def _a_settled_store(self, location: CacheLocation | None = None) -> AsyncStore:
        """Return the store itself, once all that `pipelined` has written to it is durable."""
        location = location or self._location
        pipelined = current()
        if pipelined is not None:
            await pipelined.asettle(location.path)
        return await location.native.ready()

    async def _a_open(
        self, stored: bytes, tokens: dict[bytes, bytes | None] | None = None
    ) -> tuple[bytes | None, bool]:
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
                tags = await self._a_store(self._tags_location)
                for name in names:
                    tokens[name] = await tags.get(name)
            if not tokens_match(opened.guard, tokens.get):
                return None, False
        return opened.inner, opened.soft_ms is not None and opened.soft_ms <= time.time() * 1000

    async def _a_value(self, stored: bytes | None, tokens: dict[bytes, bytes | None] | None = None) -> Any:
        """Return what `get` returns, or MISSING."""
        if stored is None:
            return MISSING
        inner, is_stale = await self._a_open(stored, tokens)
        return MISSING if inner is None or is_stale else self._codec.decode(inner)

    async def _a_is_live(self, stored: bytes | None) -> bool:
        """True if `get` returns the value.

        The value is loaded to find out, for callers that would otherwise keep an unusable one.
        """
        return await self._a_value(stored) is not MISSING

    async def _a_is_there(self, stored: bytes | None, tokens: dict[bytes, bytes | None] | None = None) -> bool:
        """As `_a_is_live`, but without loading the value, so one whose class is gone counts."""
        if stored is None:
            return False
        inner, is_stale = await self._a_open(stored, tokens)
        return inner is not None and not is_stale and self._codec.verifies(inner)

    async def _a_guard(self, tags: Sequence[str] | str | None) -> Guard | None:
        """Return the tags with their current tokens; None without tags."""
        names = self._tag_names(tags or ())
        if not names:
            return None
        store = await self._a_store(self._tags_location)
        return make_guard(names, [await store.get(name) for name in (EPOCH, *names)])

    async def _a_put(self, db: AsyncCache, name: bytes, stored: bytes, ttl_ms: int | None) -> None:
        """Set a key, whatever it held."""
        if CURRENT.get() is not None:
            await db.write(WriteBatch().set(name, stored, px=ttl_ms))
        elif ttl_ms is None:
            await db.set(name, stored)
        else:
            await db.psetex(name, ttl_ms, stored)

    async def _a_put_if_missing(self, db: AsyncCache, name: bytes, stored: bytes, ttl_ms: int | None) -> bool:
        """Set a key if it holds nothing that counts. Returns True if it was set."""
        for _ in range(TRIES_MAX):
            if await db.set(name, stored, px=ttl_ms, nx=True) is True:
                return True
            found = await db.get(name)
            if await self._a_is_live(found):
                return False
            if found is not None:
                await db.compare_and_delete(name, found)
        return False  # other callers keep writing it

    async def _a_make_plain(self, db: AsyncCache, name: bytes) -> bool:
        """Remove the soft expiry of a value, so that only its TTL counts, which the caller changes.

        Returns True if `get` finds a value under the key.
        """
        found = await db.get(name)
        if found is None or not await self._a_is_there(found):
            return False
        return found[:1] != STALE or bool(await db.compare_and_set(name, found, without_soft_expiry(found)))

    async def _a_expire_in(self, name: bytes, ttl_ms: int | None) -> bool:
        """Start a timeout; None is none. Returns True if there is a value."""
        db = await self._a_store()
        if not await self._a_make_plain(db, name):
            return False
        if ttl_ms is None:
            return await db.getex(name, persist=True) is not None
        return bool(await db.pexpire(name, ttl_ms))

    async def _a_live_names(self, db: AsyncCache, names: Sequence[bytes]) -> list[bytes]:
        """Return those of the names whose values count."""
        stored = await db.mget(names) if names else []
        tokens: dict[bytes, bytes | None] = {}
        return [name for name, found in zip(names, stored, strict=True) if await self._a_is_there(found, tokens)]
