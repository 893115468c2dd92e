"""What every method of the cache needs: the store, and whether a stored value still counts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

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
from ..handles import Place
from ..pipelining import CURRENT, current

TRIES_MAX: Final = 100


class AsyncLooking(CacheBase):
    """The store behind the cache, and liveness: tags and soft expiries make a value count as missing while it is still there."""

    def _a_ready(self) -> Any:
        """The commands of the store, if nothing has to be waited for; else None."""
        return self._place.native_handle if CURRENT.get() is None else None

    async def _a_store(self, place: Place | None = None) -> Any:
        """The commands of the store; inside `pipelined`, of its deferral."""
        place = place or self._place
        handle = await place.native()
        pipelined = CURRENT.get()
        deferral = None if pipelined is None else pipelined.deferral(handle, place.path)
        return handle if deferral is None else handle.within(deferral, forgiving=self._ignores_failures)

    async def _a_settled_store(self, place: Place | None = None) -> Any:
        """The store itself, once what `pipelined` has written to it so far is durable."""
        place = place or self._place
        pipelined = current()
        if pipelined is not None:
            await pipelined.asettle(place.path)
        return await place.native()

    async def _a_open(
        self, stored: bytes, tokens: dict[bytes, bytes | None] | None = None
    ) -> tuple[bytes | None, bool]:
        """The value in its envelopes, or None if its tags were invalidated; and whether it is stale.

        `tokens` holds what this call has looked up already, and takes in the rest.
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
                tags = await self._a_store(self._tags_place)
                for name in names:
                    tokens[name] = await tags.get(name)
            if not tokens_match(opened.guard, tokens.get):
                return None, False
        return opened.inner, opened.soft_ms is not None and opened.soft_ms <= time.time() * 1000

    async def _a_value(self, stored: bytes | None, tokens: dict[bytes, bytes | None] | None = None) -> Any:
        """What `get` answers, or MISSING."""
        if stored is None:
            return MISSING
        inner, is_stale = await self._a_open(stored, tokens)
        return MISSING if inner is None or is_stale else self._codec.decode(inner)

    async def _a_is_live(self, stored: bytes | None) -> bool:
        """True if `get` would answer this value. It is loaded to know: for those who would keep a value that is none."""
        return await self._a_value(stored) is not MISSING

    async def _a_is_there(self, stored: bytes | None, tokens: dict[bytes, bytes | None] | None = None) -> bool:
        """As `_a_is_live`, but nothing is loaded, so a value whose class is gone counts."""
        if stored is None:
            return False
        inner, is_stale = await self._a_open(stored, tokens)
        return inner is not None and not is_stale and self._codec.verifies(inner)

    async def _a_guard(self, tags: Sequence[str] | str | None) -> Guard | None:
        """The tags with their tokens now; None without tags."""
        names = self._tag_names(tags or ())
        if not names:
            return None
        store = await self._a_store(self._tags_place)
        return make_guard(names, [await store.get(name) for name in (EPOCH, *names)])

    async def _a_put(self, db: Any, name: bytes, stored: bytes, ttl_ms: int | None) -> None:
        """Set a key, whatever it held."""
        if CURRENT.get() is not None:
            await db.write(WriteBatch().set(name, stored, px=ttl_ms))
        elif ttl_ms is None:
            await db.set(name, stored)
        else:
            await db.psetex(name, ttl_ms, stored)

    async def _a_put_if_missing(self, db: Any, name: bytes, stored: bytes, ttl_ms: int | None) -> bool:
        """True if the key held nothing that counts, and now holds the value."""
        for _ in range(TRIES_MAX):
            if await db.set(name, stored, px=ttl_ms, nx=True) is True:
                return True
            found = await db.get(name)
            if await self._a_is_live(found):
                return False
            if found is not None:
                await db.compare_and_delete(name, found)
        return False  # others write it all the time

    async def _a_is_plain(self, db: Any, name: bytes) -> bool:
        """True if there is a value that counts. If it had a soft expiry it has only its TTL now, which the caller will change."""
        found = await db.get(name)
        if not await self._a_is_there(found):
            return False
        return found[:1] != STALE or bool(await db.compare_and_set(name, found, without_soft_expiry(found)))

    async def _a_live_names(self, db: Any, names: Sequence[bytes]) -> list[bytes]:
        """Those of the names whose values count."""
        stored = await db.mget(names) if names else []
        tokens: dict[bytes, bytes | None] = {}
        return [name for name, found in zip(names, stored, strict=True) if await self._a_is_there(found, tokens)]
