"""What django-redis offers beyond Django's contract, under the same names, so that code that uses it goes on working.

The asynchronous twins begin with `a`. A missing key has the TTL 0 and one without timeout None, as in django-redis.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime
from typing import Any, Final

from ferrokv import AsyncLock, BlockingLock

from .handles import Place

DELETED_EACH: Final = 10_000  # by one commit
_SPECIAL: Final = re.compile(r"([*?\[\]\\])")


def _answer(ttl: int) -> int | None:
    """django-redis's way to say a TTL."""
    return None if ttl == -1 else max(ttl, 0)


class Extras:
    """For a cache backend with `_place`, `_key` and `_reverse_key`."""

    _place: Place
    _reverse_key: Callable[[str], str] | None
    key_prefix: str
    version: int
    key_func: Any

    def _key(self, key: Any, version: int | None) -> bytes:
        raise NotImplementedError

    def _glob(self, pattern: str, version: int | None, prefix: str | None = None) -> bytes:
        """The pattern as one for whole keys: what stands before it is taken literally."""
        escaped = _SPECIAL.sub(r"\\\1", self.key_prefix if prefix is None else prefix)
        made: str = self.key_func(pattern, escaped, self.version if version is None else version)
        return made.encode("utf-8", "surrogatepass")

    def _reversed(self, version: int | None) -> Callable[[bytes], str]:
        """What makes of a stored key the one that callers use: REVERSE_KEY_FUNCTION; without one, KEY_FUNCTION's head goes."""
        head = self.key_func("", self.key_prefix, self.version if version is None else version)
        reverse = self._reverse_key or (lambda key: key.removeprefix(head))
        return lambda name: str(reverse(name.decode("utf-8", "surrogatepass")))

    # -- synchronous ---------------------------------------------------------------------------------------------

    def ttl(self, key: Any, version: int | None = None) -> int | None:
        """Seconds to live; None without timeout, 0 if there is no such key."""
        return _answer(self._place.blocking().ttl(self._key(key, version)))

    def pttl(self, key: Any, version: int | None = None) -> int | None:
        """As `ttl`, in milliseconds."""
        return _answer(self._place.blocking().pttl(self._key(key, version)))

    def persist(self, key: Any, version: int | None = None) -> bool:
        """True if the key had a timeout; now it has none."""
        return self._place.blocking().persist(self._key(key, version))

    def expire(self, key: Any, timeout: float, version: int | None = None) -> bool:
        """True if the key is there; it lives `timeout` seconds from now."""
        return self._place.blocking().expire(self._key(key, version), timeout)

    def pexpire(self, key: Any, timeout: float, version: int | None = None) -> bool:
        """As `expire`, in milliseconds."""
        return self._place.blocking().pexpire(self._key(key, version), timeout)

    def expire_at(self, key: Any, when: datetime | int, version: int | None = None) -> bool:
        """True if the key is there; it lives until a datetime, or a moment in seconds since 1970."""
        return self._place.blocking().expireat(self._key(key, version), when)

    def pexpire_at(self, key: Any, when: datetime | int, version: int | None = None) -> bool:
        """As `expire_at`, in milliseconds."""
        return self._place.blocking().pexpireat(self._key(key, version), when)

    def keys(self, search: str, version: int | None = None) -> list[str]:
        """The keys that match a glob, as callers name them."""
        return list(map(self._reversed(version), self._place.blocking().keys(self._glob(search, version))))

    def iter_keys(self, search: str, itersize: int | None = None, version: int | None = None) -> Iterator[str]:
        """As `keys`, page by page."""
        yield from map(self._reversed(version), self._place.blocking().scan_iter(self._glob(search, version)))

    def delete_pattern(
        self, pattern: str, version: int | None = None, prefix: str | None = None, itersize: int | None = None
    ) -> int:
        """How many keys matched the glob; they are gone, ten thousand by each commit."""
        db = self._place.blocking()
        names = db.keys(self._glob(pattern, version, prefix))
        return sum(db.delete(*names[i : i + DELETED_EACH]) for i in range(0, len(names), DELETED_EACH))

    def lock(
        self,
        key: Any,
        version: int | None = None,
        timeout: float | None = None,
        sleep: float = 0.1,
        blocking: bool = True,
        blocking_timeout: float | None = None,
        thread_local: bool = True,
    ) -> BlockingLock:
        """A lock among all processes: a context manager, freed after `timeout` or when its process ends."""
        name = self._key(key, version)
        return self._place.blocking().lock(name, timeout, sleep, blocking, blocking_timeout, thread_local)

    # -- asynchronous --------------------------------------------------------------------------------------------

    async def attl(self, key: Any, version: int | None = None) -> int | None:
        """As `ttl`."""
        db = await self._place.native()
        return _answer(await db.ttl(self._key(key, version)))

    async def apttl(self, key: Any, version: int | None = None) -> int | None:
        """As `pttl`."""
        db = await self._place.native()
        return _answer(await db.pttl(self._key(key, version)))

    async def apersist(self, key: Any, version: int | None = None) -> bool:
        """As `persist`."""
        db = await self._place.native()
        return await db.persist(self._key(key, version))

    async def aexpire(self, key: Any, timeout: float, version: int | None = None) -> bool:
        """As `expire`."""
        db = await self._place.native()
        return await db.expire(self._key(key, version), timeout)

    async def apexpire(self, key: Any, timeout: float, version: int | None = None) -> bool:
        """As `pexpire`."""
        db = await self._place.native()
        return await db.pexpire(self._key(key, version), timeout)

    async def aexpire_at(self, key: Any, when: datetime | int, version: int | None = None) -> bool:
        """As `expire_at`."""
        db = await self._place.native()
        return await db.expireat(self._key(key, version), when)

    async def apexpire_at(self, key: Any, when: datetime | int, version: int | None = None) -> bool:
        """As `pexpire_at`."""
        db = await self._place.native()
        return await db.pexpireat(self._key(key, version), when)

    async def akeys(self, search: str, version: int | None = None) -> list[str]:
        """As `keys`."""
        db = await self._place.native()
        return list(map(self._reversed(version), await db.keys(self._glob(search, version))))

    async def aiter_keys(
        self, search: str, itersize: int | None = None, version: int | None = None
    ) -> AsyncIterator[str]:
        """As `iter_keys`."""
        db = await self._place.native()
        reverse = self._reversed(version)
        async for name in db.scan_iter(self._glob(search, version)):
            yield reverse(name)

    async def adelete_pattern(
        self, pattern: str, version: int | None = None, prefix: str | None = None, itersize: int | None = None
    ) -> int:
        """As `delete_pattern`."""
        db = await self._place.native()
        names = await db.keys(self._glob(pattern, version, prefix))
        return sum([await db.delete(*names[i : i + DELETED_EACH]) for i in range(0, len(names), DELETED_EACH)])

    async def alock(
        self,
        key: Any,
        version: int | None = None,
        timeout: float | None = None,
        sleep: float = 0.1,
        blocking: bool = True,
        blocking_timeout: float | None = None,
        thread_local: bool = True,
    ) -> AsyncLock:
        """As `lock`, once awaited: `async with await cache.alock("name"):`."""
        db = await self._place.native()
        return db.lock(self._key(key, version), timeout, sleep, blocking, blocking_timeout, thread_local)
