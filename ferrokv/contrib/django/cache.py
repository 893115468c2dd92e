"""`FerroKVCache`: Django's cache contract on ferrokv, synchronous and native asynchronous in one class.

Every `a*` method runs on the event loop itself; a hit in memory takes no thread. Both kinds are equally atomic.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache, InvalidCacheKey
from django.core.exceptions import SynchronousOnlyOperation
from django.utils.module_loading import import_string

from ferrokv import ResponseError, WriteBatch

from .extras import Extras
from .handles import Place
from .herd import Herd
from .values import MISSING, ValueCodec

DEFAULT_KEYSPACE: Final = "cache"
KEY_BYTES_MAX: Final = 65_535
# What Django warns of (memcached's limits), found by one search instead of a check for each character.
_SUSPECT: Final = re.compile(r"[\x00-\x20\x7f]|.{251}", re.DOTALL)
_IGNORED_OPTIONS: Final = frozenset({"MAX_ENTRIES", "CULL_FREQUENCY", "KEYSPACE", "REVERSE_KEY_FUNCTION"})


def place_of(location: str | os.PathLike[str], params: Mapping[str, Any]) -> Place:
    """Where a `CACHES` entry keeps its keys. Options in lower case are those of `ferrokv.Options`."""
    options = params.get("OPTIONS", {})
    engine_options = {name: value for name, value in options.items() if name not in _IGNORED_OPTIONS}
    return Place(os.path.abspath(os.fspath(location)), options.get("KEYSPACE", DEFAULT_KEYSPACE), engine_options)


def _counter_error(key: Any, error: ResponseError) -> Exception:
    """What counting on such a value raises in Django's own in-memory cache: TypeError unless it holds an integer."""
    kind = OverflowError if "overflow" in str(error) else TypeError
    return kind(f"Key '{key}': {error}")


class FerroKVCache(Herd, Extras, BaseCache):
    """`LOCATION` is the directory, `OPTIONS["KEYSPACE"]` the keyspace (default "cache").

    Timeouts are native TTLs, exact to the millisecond. `MAX_ENTRIES` and `CULL_FREQUENCY` are ignored: nothing is culled. What
    it has beyond Django's contract is in `Extras`, under django-redis's names.
    """

    def __init__(self, location: str | os.PathLike[str], params: dict[str, Any]) -> None:
        super().__init__(params)
        self._place = place_of(location, params)
        reverse = params.get("OPTIONS", {}).get("REVERSE_KEY_FUNCTION")
        self._reverse_key = import_string(reverse) if isinstance(reverse, str) else reverse
        self._codec = ValueCodec([settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS])

    # -- keys, timeouts, values ----------------------------------------------------------------------------------

    def validate_key(self, key: str) -> None:
        """Django's warnings for keys that memcached would refuse, without the cost of its check on good keys."""
        if _SUSPECT.search(key) is not None:
            super().validate_key(key)

    def _key(self, key: Any, version: int | None) -> bytes:
        full = self.make_and_validate_key(key, version=version)
        encoded = full.encode("utf-8", "surrogatepass")
        if not 0 < len(encoded) <= KEY_BYTES_MAX:
            raise InvalidCacheKey(f"a cache key has 1 to {KEY_BYTES_MAX} bytes: found={len(encoded)}")
        return encoded

    def _ttl_ms(self, timeout: float | object | None) -> int | None:
        """None for ever; zero or less: expired at once."""
        if timeout is DEFAULT_TIMEOUT:
            timeout = self.default_timeout
        if timeout is None or timeout == math.inf:
            return None
        return int(timeout * 1000)  # type: ignore[operator]

    def _value(self, stored: bytes | None, default: Any) -> Any:
        if stored is None:
            return default
        value = self._codec.decode(stored)
        return default if value is MISSING else value

    def _keys(self, keys: Iterable[Any], version: int | None) -> dict[bytes, Any]:
        return {self._key(key, version): key for key in keys}

    def _found(self, names: Mapping[bytes, Any], stored: Iterable[bytes | None]) -> dict[Any, Any]:
        values = ((key, self._value(found, MISSING)) for key, found in zip(names.values(), stored, strict=True))
        return {key: value for key, value in values if value is not MISSING}

    def _batch(self, data: Mapping[Any, Any], timeout: Any, version: int | None) -> WriteBatch:
        """The writes of `set_many`; a value that can not be encoded raises before anything is written."""
        ttl_ms = self._ttl_ms(timeout)
        batch = WriteBatch()
        for key, value in data.items():
            name, stored = self._key(key, version), self._codec.encode(value)
            if ttl_ms is not None and ttl_ms <= 0:
                batch.delete(name)
            else:
                batch.set(name, stored, px=ttl_ms)
        return batch

    @staticmethod
    def _counted(key: Any, answer: int | None) -> int:
        if answer is None:
            raise ValueError(f"Key '{key}' not found")
        return answer

    def _versions(self, key: Any, delta: int, version: int | None) -> tuple[bytes, bytes, int]:
        version = self.version if version is None else version
        return self._key(key, version), self._key(key, version + delta), version + delta

    # -- synchronous ---------------------------------------------------------------------------------------------

    def get(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        name = self._key(key, version)
        db = self._place.blocking()
        stored = db.get(name)
        value = self._value(stored, MISSING)
        if value is MISSING:
            if stored is not None:
                db.compare_and_delete(name, stored)  # a value without a valid seal must not stand in the way of `add`
            return default
        return value

    def set(  # type: ignore[override]
        self,
        key: Any,
        value: Any,
        timeout: Any = DEFAULT_TIMEOUT,
        version: int | None = None,
        *,
        nx: bool = False,
        xx: bool = False,
    ) -> bool:
        """True, or False when `nx` (only if missing) or `xx` (only if there) forbade it."""
        name, stored, ttl_ms = self._key(key, version), self._codec.encode(value), self._ttl_ms(timeout)
        db = self._place.blocking()
        if ttl_ms is None or ttl_ms > 0:
            return db.set(name, stored, px=ttl_ms, nx=nx, xx=xx) is True
        if nx:
            return not db.exists(name)
        return bool(db.delete(name)) or not xx

    def add(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        name, stored, ttl_ms = self._key(key, version), self._codec.encode(value), self._ttl_ms(timeout)
        db = self._place.blocking()
        if ttl_ms is not None and ttl_ms <= 0:
            return not db.exists(name)
        return db.set(name, stored, px=ttl_ms, nx=True) is True

    def touch(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        name, ttl_ms = self._key(key, version), self._ttl_ms(timeout)
        db = self._place.blocking()
        if ttl_ms is None:
            return db.getex(name, persist=True) is not None
        return db.pexpire(name, ttl_ms)

    def delete(self, key: Any, version: int | None = None) -> bool:
        return bool(self._place.blocking().delete(self._key(key, version)))

    def get_many(self, keys: Iterable[Any], version: int | None = None) -> dict[Any, Any]:
        names = self._keys(keys, version)
        return self._found(names, self._place.blocking().mget(list(names)))

    def set_many(
        self, data: Mapping[Any, Any], timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> list[Any]:
        batch = self._batch(data, timeout, version)
        if batch:
            self._place.blocking().write(batch)
        return []

    def delete_many(self, keys: Iterable[Any], version: int | None = None) -> None:
        names = self._keys(keys, version)
        if names:
            self._place.blocking().delete(*names)

    def has_key(self, key: Any, version: int | None = None) -> bool:
        return bool(self._place.blocking().exists(self._key(key, version)))

    def incr(self, key: Any, delta: int = 1, version: int | None = None, *, ignore_key_check: bool = False) -> int:
        """The new value; ValueError for a missing key, which with `ignore_key_check` counts as 0 and is made without timeout."""
        name = self._key(key, version)
        try:
            return self._counted(key, self._place.blocking().incr(name, delta, xx=not ignore_key_check))
        except ResponseError as error:
            raise _counter_error(key, error) from error

    def decr(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        return self.incr(key, -delta, version=version)

    def incr_version(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        """The new version; value and TTL move there in one atomic step."""
        source, target, new_version = self._versions(key, delta, version)
        try:
            self._place.blocking().rename(source, target)
        except ResponseError as error:
            raise ValueError(f"Key '{key}' not found") from error
        return new_version

    def clear(self) -> None:
        """Clear this cache's keyspace, and nothing else: one durable record, whatever its size."""
        self._place.blocking().flushdb()

    def close(self, **kwargs: Any) -> None:
        """Nothing: the store is shared, and Django calls this after every request."""

    # -- asynchronous --------------------------------------------------------------------------------------------

    async def _aencode(self, value: Any) -> bytes:
        stored: bytes = await self._in_thread_if_needed(self._codec.encode, value)
        return stored

    @staticmethod
    async def _in_thread_if_needed(encode: Callable[..., Any], *args: Any) -> Any:
        """Encode here; in a thread only if pickling asks the database, as for a queryset that was not evaluated."""
        try:
            return encode(*args)
        except SynchronousOnlyOperation:
            return await sync_to_async(encode)(*args)

    async def aget(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        name = self._key(key, version)
        db = await self._place.native()
        stored = await db.get(name)
        value = self._value(stored, MISSING)
        if value is MISSING:
            if stored is not None:
                await db.compare_and_delete(name, stored)
            return default
        return value

    async def aset(  # type: ignore[override]
        self,
        key: Any,
        value: Any,
        timeout: Any = DEFAULT_TIMEOUT,
        version: int | None = None,
        *,
        nx: bool = False,
        xx: bool = False,
    ) -> bool:
        """As `set`."""
        name, stored, ttl_ms = self._key(key, version), await self._aencode(value), self._ttl_ms(timeout)
        db = await self._place.native()
        if ttl_ms is None or ttl_ms > 0:
            return await db.set(name, stored, px=ttl_ms, nx=nx, xx=xx) is True
        if nx:
            return not await db.exists(name)
        return bool(await db.delete(name)) or not xx

    async def aadd(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        name, stored, ttl_ms = self._key(key, version), await self._aencode(value), self._ttl_ms(timeout)
        db = await self._place.native()
        if ttl_ms is not None and ttl_ms <= 0:
            return not await db.exists(name)
        return await db.set(name, stored, px=ttl_ms, nx=True) is True

    async def atouch(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        name, ttl_ms = self._key(key, version), self._ttl_ms(timeout)
        db = await self._place.native()
        if ttl_ms is None:
            return await db.getex(name, persist=True) is not None
        return await db.pexpire(name, ttl_ms)

    async def adelete(self, key: Any, version: int | None = None) -> bool:
        db = await self._place.native()
        return bool(await db.delete(self._key(key, version)))

    async def aget_many(self, keys: Iterable[Any], version: int | None = None) -> dict[Any, Any]:
        names = self._keys(keys, version)
        db = await self._place.native()
        return self._found(names, await db.mget(list(names)))

    async def aset_many(
        self, data: Mapping[Any, Any], timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> list[Any]:
        batch = await self._in_thread_if_needed(self._batch, data, timeout, version)
        if batch:
            db = await self._place.native()
            await db.write(batch)
        return []

    async def adelete_many(self, keys: Iterable[Any], version: int | None = None) -> None:
        names = self._keys(keys, version)
        if names:
            db = await self._place.native()
            await db.delete(*names)

    async def ahas_key(self, key: Any, version: int | None = None) -> bool:
        db = await self._place.native()
        return bool(await db.exists(self._key(key, version)))

    async def aincr(
        self, key: Any, delta: int = 1, version: int | None = None, *, ignore_key_check: bool = False
    ) -> int:
        """As `incr`."""
        name = self._key(key, version)
        db = await self._place.native()
        try:
            return self._counted(key, await db.incr(name, delta, xx=not ignore_key_check))
        except ResponseError as error:
            raise _counter_error(key, error) from error

    async def adecr(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        return await self.aincr(key, -delta, version=version)

    async def aincr_version(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        """As `incr_version`."""
        source, target, new_version = self._versions(key, delta, version)
        db = await self._place.native()
        try:
            await db.rename(source, target)
        except ResponseError as error:
            raise ValueError(f"Key '{key}' not found") from error
        return new_version

    async def adecr_version(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        return await self.aincr_version(key, -delta, version)

    async def aclear(self) -> None:
        """As `clear`."""
        db = await self._place.native()
        await db.flushdb()

    async def aclose(self, **kwargs: Any) -> None:
        """Nothing, as `close`."""
