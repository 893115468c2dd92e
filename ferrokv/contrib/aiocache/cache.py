"""`FerroKVCache`: aiocache's backend contract on ferrokv, in one class for 0.12 and the 1.0 line.

aiocache's public methods are templates around hooks. Each hook here is a single ferrokv command, so
it is atomic among all tasks, event loops and processes. When a timeout strikes (aiocache cancels
the caller), a write has happened in full or not at all.
"""

from __future__ import annotations

import inspect
import os
import urllib.parse
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from aiocache.base import BaseCache
from aiocache.serializers import JsonSerializer

from ferrokv import DataError, Options, ResponseError, connect
from ferrokv.connecting import resolve_location
from ferrokv.options import UNCHANGED, Quota

from ..shared import in_batches, open_options, whole_ms
from .keys import KeyBuilder, stored_prefix, usual_key
from .redlock import NOT_GIVEN, forget_event, is_lock, take_lock

if TYPE_CHECKING:
    from ferrokv.contract.aio.stores import AsyncStore

CLEAR_KEYS: Final = 10_000  # keys deleted per commit if a namespace is too large for a single one
NOT_RAW: Final = frozenset({"close", "transaction", "write"})
_GLOB: Final = str.maketrans({special: f"\\{special}" for special in "*?[]\\"})


class FerroKVCache(BaseCache):  # type: ignore[misc]
    """A cache in one keyspace of the store at `path`.

    The directory is opened on first use, and created if it is missing. `max_bytes` limits the
    keyspace: beyond it, expired keys are evicted first, then the least used; None removes a limit
    that was set before. `options` are those of `ferrokv.Options`, which may also be given as
    keyword arguments.

    The other arguments are aiocache's: `serializer` (JSON by default, as in its Redis cache),
    `plugins`, `namespace`, `key_builder`, `timeout` and `ttl`. TTLs may be floats, exact to the
    millisecond; None and 0 mean no expiry.

    Any task, event loop and thread of a process may share one object. All objects of a process
    share one engine per directory.
    """

    NAME = "ferrokv"

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        keyspace: str = "aiocache",
        max_bytes: Quota | str = UNCHANGED,
        options: Mapping[str, Any] | None = None,
        serializer: Any = None,
        namespace: str | None = None,
        key_builder: KeyBuilder | None = None,
        **kwargs: Any,
    ) -> None:
        own = {name: kwargs.pop(name) for name in Options._fields if name in kwargs}
        if namespace is not None:
            kwargs["namespace"] = namespace
        super().__init__(serializer=serializer or JsonSerializer(), **kwargs)
        # aiocache 0.12 sets one of them on the object, 1.0 the other. Here both are methods.
        for name in ("build_key", "_build_key"):
            self.__dict__.pop(name, None)
        self._key_builder = key_builder or usual_key
        if not os.fspath(path):
            raise ValueError("a FerroKVCache needs a path: the directory of the store")
        self.path = resolve_location(path)
        self.keyspace = keyspace
        self._max_bytes = _number(max_bytes)
        self._options = open_options({name: _number(value) for name, value in {**(options or {}), **own}.items()})
        self._db = self._connect()

    @classmethod
    def parse_uri_path(cls, path: str) -> dict[str, str]:
        """Return the arguments in a URL's path: `ferrokv:///srv/cache` means /srv/cache."""
        if not path.strip("/"):
            raise ValueError("a ferrokv URL names the directory of the store: ferrokv:///srv/cache")
        return {"path": urllib.parse.unquote(path)}

    def build_key(self, key: Any, namespace: str | None = None) -> Any:
        """Return the stored key in the given namespace, or else in that of this object.

        A `key_builder` is called with both key and namespace.
        """
        name = key.value if isinstance(key, Enum) else key
        return self._key_builder(name, self.namespace if namespace is None else namespace)

    _build_key = build_key

    def _connect(self) -> AsyncStore:
        """Return a handle that opens the store at its first use."""
        return connect(self.path, keyspace=self.keyspace, max_bytes=self._max_bytes, **self._options)

    async def _get(self, key: Any, encoding: str | None = "utf-8", _conn: Any = None) -> Any:
        value = await self._db.get(key)
        return value if value is None or encoding is None else value.decode(encoding)

    async def _gets(self, key: Any, encoding: str | None = "utf-8", _conn: Any = None) -> Any:
        """Return the token for compare-and-set: the stored value, decoded if it is text."""
        value = await self._db.get(key)
        try:
            return value if value is None or encoding is None else value.decode(encoding)
        except UnicodeDecodeError:
            return value

    async def _multi_get(self, keys: Iterable[Any], encoding: str | None = "utf-8", _conn: Any = None) -> list[Any]:
        values = await self._db.mget(list(keys))
        return [value if value is None or encoding is None else value.decode(encoding) for value in values]

    async def _set(
        self, key: Any, value: Any, ttl: float | None = None, _cas_token: Any = None, _conn: Any = None
    ) -> bool:
        db = self._db
        px = whole_ms(ttl)
        if _cas_token is not None:
            return await db.compare_and_set(key, _cas_token, value, px=px)
        return bool(await db.set(key, value, px=px))

    async def _multi_set(self, pairs: Iterable[tuple[Any, Any]], ttl: float | None = None, _conn: Any = None) -> bool:
        px = whole_ms(ttl)
        for batch in in_batches((key, value, px) for key, value in pairs):
            await self._db.write(batch)
        return True

    async def _add(self, key: Any, value: Any, ttl: float | None = None, _conn: Any = NOT_GIVEN) -> bool:
        db = self._db
        if is_lock(value, _conn):
            return await take_lock(db, key, value, whole_ms(ttl))
        if await db.set(key, value, px=whole_ms(ttl), nx=True) is not True:
            raise ValueError(f"Key {key} already exists, use .set to update the value")
        return True

    async def _exists(self, key: Any, _conn: Any = None) -> bool:
        return bool(await self._db.exists(key))

    async def _increment(self, key: Any, delta: int, _conn: Any = None) -> int:
        db = self._db
        try:
            answer: int = await db.incr(key, delta)
        except ResponseError as error:
            raise TypeError(f"Value is not an integer: {error}") from error
        return answer

    async def _expire(self, key: Any, ttl: float, _conn: Any = None) -> bool:
        db = self._db
        px = whole_ms(ttl)
        if px is None:
            return await db.getex(key, persist=True) is not None
        return bool(await db.pexpire(key, px))

    async def _delete(self, key: Any, _conn: Any = None) -> int:
        return await self._db.delete(key)

    async def _clear(self, namespace: str | None = None, _conn: Any = None) -> bool:
        """Clear exactly the keys of the namespace, atomically if possible.

        Without a namespace it clears the keyspace, in O(1).
        """
        db = self._db
        if not namespace:
            return await db.flushdb()
        head = stored_prefix(self._key_builder, namespace)
        try:
            await db.delete_range(prefix=head)
        except DataError:  # too many to delete at once
            names: list[bytes] = []
            async for name in db.scan_iter(head.decode("utf-8", "surrogatepass").translate(_GLOB) + "*"):
                names.append(name)
                if len(names) >= CLEAR_KEYS:
                    await db.delete(*names)
                    names = []
            if names:
                await db.delete(*names)
        return True

    async def _raw(
        self, command: str, *args: Any, encoding: str | None = "utf-8", _conn: Any = None, **kwargs: Any
    ) -> Any:
        """Run a command of `FerroKV` by name, with stored keys.

        With an encoding, decode bytes, even in lists.
        """
        method = getattr(self._db, command, None)
        if command.startswith("_") or command in NOT_RAW or not inspect.iscoroutinefunction(method):
            raise AttributeError(f"ferrokv has no such command: {command!r}")
        answer = await method(*args, **kwargs)
        return answer if encoding is None else _decoded(answer, encoding)

    async def _redlock_release(self, key: Any, value: Any) -> int:
        released = await self._db.compare_and_delete(key, value)
        if not released:
            forget_event(key)
        return int(released)

    async def _close(self, *args: Any, _conn: Any = None, **kwargs: Any) -> None:
        handle, self._db = self._db, self._connect()
        await handle.close()

    def __repr__(self) -> str:
        return f"FerroKVCache({self.path!r}, keyspace={self.keyspace!r})"


def _number(value: Any) -> Any:
    """Convert a number given as text in a URL."""
    if isinstance(value, str):
        return float(value) if "." in value else int(value)
    return value


def _decoded(answer: Any, encoding: str) -> Any:
    if isinstance(answer, bytes):
        return answer.decode(encoding)
    if type(answer) in (list, set, tuple):
        return type(answer)(_decoded(part, encoding) for part in answer)
    if isinstance(answer, dict):
        return {_decoded(name, encoding): _decoded(value, encoding) for name, value in answer.items()}
    return answer
