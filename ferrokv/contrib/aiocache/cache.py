"""`FerroKVCache`: aiocache's backend contract (0.12) on ferrokv.

aiocache's public methods are templates around hooks; each hook here is one ferrokv command, so each is atomic, also across
the event loops and tasks of the process.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, Final

from aiocache.base import BaseCache
from aiocache.serializers import JsonSerializer

from ferrokv import FerroKV, ResponseError, WriteBatch

CLEAR_KEYS: Final = 10_000  # deleted by one commit


class FerroKVCache(BaseCache):  # type: ignore[misc]
    """A cache in a keyspace of the store at `path`; the directory is made if it is missing.

    Other arguments are aiocache's: serializer (default JSON, as in aiocache's Redis backend), plugins, namespace,
    key_builder, timeout, ttl. `options` are those of `ferrokv.Options`. Float TTLs count to the millisecond.
    """

    NAME = "ferrokv"

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        keyspace: str = "aiocache",
        options: Mapping[str, Any] | None = None,
        serializer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(serializer=serializer or JsonSerializer(), **kwargs)
        self.path = os.path.abspath(os.fspath(path))
        self.keyspace = keyspace
        self._options = dict(options or {})
        self._handle: FerroKV | None = None
        self._pid = 0

    @classmethod
    def parse_uri_path(cls, path: str) -> dict[str, str]:
        """The arguments that the path of a URL gives: `ferrokv:///var/cache` is the directory /var/cache."""
        return {"path": path}

    async def _db(self) -> FerroKV:
        """The handle, opened at the first use in this process."""
        handle = self._handle
        if handle is None or self._pid != os.getpid():
            opened = await FerroKV.open(self.path, keyspace=self.keyspace, **self._options)
            if self._handle is not None and self._pid == os.getpid():
                await opened.close()  # another task was faster
                return self._handle
            handle = self._handle = opened
            self._pid = os.getpid()
        return handle

    async def _get(self, key: str, encoding: str | None = "utf-8", _conn: Any = None) -> Any:
        handle = self._handle
        if handle is None or self._pid != os.getpid():
            handle = await self._db()
        value = await handle.get(key)
        return value if value is None or encoding is None else value.decode(encoding)

    async def _gets(self, key: str, encoding: str | None = "utf-8", _conn: Any = None) -> Any:
        return await self._get(key, encoding)

    async def _multi_get(self, keys: Iterable[str], encoding: str | None = "utf-8", _conn: Any = None) -> list[Any]:
        db = await self._db()
        values = await db.mget(list(keys))
        return [value if value is None or encoding is None else value.decode(encoding) for value in values]

    async def _set(
        self, key: str, value: Any, ttl: float | None = None, _cas_token: Any = None, _conn: Any = None
    ) -> bool:
        db = await self._db()
        px = _milliseconds(ttl)
        if _cas_token is not None:
            return await db.compare_and_set(key, _cas_token, value, px=px)
        return bool(await db.set(key, value, px=px))

    async def _multi_set(self, pairs: Iterable[tuple[str, Any]], ttl: float | None = None, _conn: Any = None) -> bool:
        px = _milliseconds(ttl)
        batch = WriteBatch()
        for key, value in pairs:
            batch.set(key, value, px=px)
        db = await self._db()
        return await db.write(batch)

    async def _add(self, key: str, value: Any, ttl: float | None = None, _conn: Any = None) -> bool:
        db = await self._db()
        if await db.set(key, value, px=_milliseconds(ttl), nx=True) is not True:
            raise ValueError(f"Key {key} already exists, use .set to update the value")
        return True

    async def _exists(self, key: str, _conn: Any = None) -> bool:
        db = await self._db()
        return bool(await db.exists(key))

    async def _increment(self, key: str, delta: int, _conn: Any = None) -> int:
        db = await self._db()
        try:
            answer: int = await db.incr(key, delta)
        except ResponseError as error:
            raise TypeError("Value is not an integer") from error
        return answer

    async def _expire(self, key: str, ttl: float, _conn: Any = None) -> bool:
        db = await self._db()
        if not ttl:
            return await db.getex(key, persist=True) is not None
        return await db.pexpire(key, _milliseconds(ttl) or 1)

    async def _delete(self, key: str, _conn: Any = None) -> int:
        db = await self._db()
        return await db.delete(key)

    async def _clear(self, namespace: str | None = None, _conn: Any = None) -> bool:
        """Clear the keys that begin with the namespace; without one, the keyspace."""
        db = await self._db()
        if not namespace:
            return await db.flushdb()
        names = [key async for key, _ in db.scan(prefix=namespace)]
        for start in range(0, len(names), CLEAR_KEYS):
            await db.delete(*names[start : start + CLEAR_KEYS])
        return True

    async def _raw(
        self, command: str, *args: Any, encoding: str | None = "utf-8", _conn: Any = None, **kwargs: Any
    ) -> Any:
        """Any method of `FerroKV` by its name; bytes are decoded when there is an encoding."""
        db = await self._db()
        if command.startswith("_"):
            raise AttributeError(command)
        answer = await getattr(db, command)(*args, **kwargs)
        return answer.decode(encoding) if encoding is not None and isinstance(answer, bytes) else answer

    async def _redlock_release(self, key: str, value: Any) -> int:
        db = await self._db()
        return int(await db.compare_and_delete(key, value))

    async def _close(self, *args: Any, _conn: Any = None, **kwargs: Any) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            await handle.close()

    def __repr__(self) -> str:
        return f"FerroKVCache({self.path!r}, keyspace={self.keyspace!r})"


def _milliseconds(ttl: float | None) -> int | None:
    """A TTL in ms that is at least one; aiocache means "for ever" by None and by 0."""
    return max(1, round(ttl * 1000)) if ttl else None
