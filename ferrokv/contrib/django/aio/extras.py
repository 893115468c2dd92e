"""What django-redis offers beyond Django's contract, under the same names, for code that uses it.

As in django-redis, the TTL of a missing key is 0, and that of a key without timeout is None.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Any, Final

from django.core.cache.backends.base import DEFAULT_TIMEOUT

from ...codecs.envelopes import STALE, open_envelope
from ...shared import NUMBERS
from ..patterns import glob_of, reversal_of
from .appending_lock import AsyncAppendingLock
from .values import AsyncValues

DELETED_EACH: Final = 10_000  # per commit
PAGE: Final = 500


class AsyncExtras(AsyncValues):
    """TTLs, keys by pattern, and locks."""

    async def apttl(self, key: Any, version: int | None = None) -> int | None:
        """Return the remaining milliseconds; None without a timeout, 0 if there is no such key."""
        name = self._key(key, version)
        db = await self._a_store()
        stored = await db.get(name)
        if stored is None or not await self._a_is_there(stored):
            return 0
        if stored[:1] == STALE:
            opened = open_envelope(stored)
            if opened is not None and opened.soft_ms is not None:
                return max(0, opened.soft_ms - int(time.time() * 1000))
        left = await db.pttl(name)
        return None if left == -1 else max(left, 0)

    async def attl(self, key: Any, version: int | None = None) -> int | None:
        """As `apttl`, in seconds, rounded."""
        left = await self.apttl(key, version=version)
        return None if left is None else (left + 500) // 1000

    async def apersist(self, key: Any, version: int | None = None) -> bool:
        """Remove the timeout. Returns True if there was one."""
        name = self._key(key, version)
        db = await self._a_store()
        return await self._a_make_plain(db, name) and bool(await db.persist(name))

    async def aexpire(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        """Let the key expire `timeout` seconds from now, None for never. Returns True if it exists."""
        return await self._a_expire_in(self._key(key, version), self._ttl_ms(timeout))

    async def apexpire(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        """As `aexpire`, in milliseconds."""
        ttl_ms = int(timeout) if isinstance(timeout, NUMBERS) else self._ttl_ms(timeout)
        return await self._a_expire_in(self._key(key, version), ttl_ms)

    async def aexpire_at(self, key: Any, when: datetime | int, version: int | None = None) -> bool:
        """Let the key expire at a datetime, or at a moment in seconds since 1970.

        True if it exists.
        """
        name = self._key(key, version)
        db = await self._a_store()
        return await self._a_make_plain(db, name) and bool(await db.expireat(name, when))

    async def apexpire_at(self, key: Any, when: datetime | int, version: int | None = None) -> bool:
        """As `aexpire_at`, in milliseconds."""
        name = self._key(key, version)
        db = await self._a_store()
        return await self._a_make_plain(db, name) and bool(await db.pexpireat(name, when))

    async def aiter_keys(
        self, search: str, itersize: int | None = None, version: int | None = None
    ) -> AsyncGenerator[str, None]:
        """Iterate over the keys that match a glob, as callers name them, page by page."""
        db = await self._a_settled_store()
        reverse = reversal_of(self, self._reverse_key, version)
        page = []
        async for name in db.scan_iter(glob_of(self, search, version)):
            page.append(name)
            if len(page) >= (itersize or PAGE):
                for live in await self._a_live_names(db, page):
                    yield reverse(live)
                page = []
        for live in await self._a_live_names(db, page):
            yield reverse(live)

    async def akeys(self, search: str, version: int | None = None) -> list[str]:
        """Return the keys that match a glob, as callers name them."""
        db = await self._a_settled_store()
        names = await self._a_live_names(db, await db.keys(glob_of(self, search, version)))
        return list(map(reversal_of(self, self._reverse_key, version), names))

    async def adelete_pattern(
        self, pattern: str, version: int | None = None, prefix: str | None = None, itersize: int | None = None
    ) -> int:
        """Delete the keys that match a glob, 10,000 per commit, and return how many there were."""
        db = await self._a_settled_store()
        names = await db.keys(glob_of(self, pattern, version, prefix))
        deleted = 0
        for start in range(0, len(names), DELETED_EACH):
            deleted += await db.delete(*names[start : start + DELETED_EACH])
        return deleted

    async def alock(
        self,
        key: Any,
        version: int | None = None,
        timeout: float | None = None,
        sleep: float = 0.1,
        blocking: bool = True,
        blocking_timeout: float | None = None,
        thread_local: bool = True,
    ) -> AsyncAppendingLock:
        """Return a lock among all processes, to be used as a context manager.

        It becomes free after `timeout`, or when its process ends.
        """
        name = self._key(key, version)
        return AsyncAppendingLock(
            self._location.native.lock(name, timeout, sleep, blocking, blocking_timeout, thread_local=thread_local)
        )
