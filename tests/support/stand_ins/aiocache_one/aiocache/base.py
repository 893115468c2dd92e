"""`BaseCache` of the 1.0 line: generic in its keys and abstract; `build_key` is a method, `_build_key` the key builder."""

from __future__ import annotations

import asyncio
import functools
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import Enum
from typing import Any, Generic, TypeVar

SENTINEL = object()
NOT_SET = object()
KeyT = TypeVar("KeyT")


class API:
    """The names of the commands, by which plugins know what to hook into."""

    CMDS: set[Callable[..., Any]] = set()


def command(fake_return: Any = None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A public method: with plugins around it, cancelled after `timeout`, and faked under AIOCACHE_DISABLE."""

    def wrap(method: Callable[..., Any]) -> Callable[..., Any]:
        async def with_plugins(self: Any, *args: Any, **kwargs: Any) -> Any:
            start = time.monotonic()
            for plugin in self.plugins:
                await getattr(plugin, f"pre_{method.__name__}")(self, *args, **kwargs)
            answer = await method(self, *args, **kwargs)
            for plugin in self.plugins:
                hook = getattr(plugin, f"post_{method.__name__}")
                await hook(self, *args, took=time.monotonic() - start, ret=answer, **kwargs)
            return answer

        @functools.wraps(method)
        async def call(self: Any, *args: Any, timeout: Any = NOT_SET, **kwargs: Any) -> Any:
            if os.getenv("AIOCACHE_DISABLE") == "1":
                return fake_return
            seconds = self.timeout if timeout is NOT_SET else timeout
            if not seconds:
                return await with_plugins(self, *args, **kwargs)
            return await asyncio.wait_for(with_plugins(self, *args, **kwargs), seconds)

        API.CMDS.add(call)
        return call

    return wrap


class BaseCache(Generic[KeyT], ABC):
    """Public methods as templates around hooks."""

    NAME: str

    def __init__(
        self,
        serializer: Any = None,
        plugins: Any = None,
        namespace: str = "",
        key_builder: Callable[[str, str], str] = lambda key, namespace: f"{namespace}{key}",
        timeout: float | None = 5,
        ttl: float | None = None,
    ) -> None:
        self.timeout = None if timeout is None else float(timeout)
        self.ttl = None if ttl is None else float(ttl)
        self.namespace = namespace
        self._build_key = key_builder
        self.serializer = serializer
        self.plugins = plugins or []

    @abstractmethod
    def build_key(self, key: str, namespace: str | None = None) -> KeyT: ...

    def _str_build_key(self, key: Any, namespace: str | None = None) -> str:
        name = key.value if isinstance(key, Enum) else key
        return self._build_key(name, self.namespace if namespace is None else namespace)

    def _get_ttl(self, ttl: Any) -> Any:
        return self.ttl if ttl is SENTINEL else ttl

    @command(fake_return=True)
    async def add(
        self, key: Any, value: Any, ttl: Any = SENTINEL, dumps_fn: Any = None, namespace: Any = None, _conn: Any = None
    ) -> bool:
        dumps = dumps_fn or self.serializer.dumps
        await self._add(self.build_key(key, namespace), dumps(value), ttl=self._get_ttl(ttl), _conn=_conn)
        return True

    @command()
    async def get(
        self, key: Any, default: Any = None, loads_fn: Any = None, namespace: Any = None, _conn: Any = None
    ) -> Any:
        loads = loads_fn or self.serializer.loads
        name = self.build_key(key, namespace)
        value = loads(await self._get(name, encoding=self.serializer.encoding, _conn=_conn))
        return default if value is None else value

    @command(fake_return=[])
    async def multi_get(self, keys: Any, loads_fn: Any = None, namespace: Any = None, _conn: Any = None) -> list[Any]:
        loads = loads_fn or self.serializer.loads
        names = [self.build_key(key, namespace) for key in keys]
        return [loads(value) for value in await self._multi_get(names, encoding=self.serializer.encoding, _conn=_conn)]

    @command(fake_return=True)
    async def set(
        self,
        key: Any,
        value: Any,
        ttl: Any = SENTINEL,
        dumps_fn: Any = None,
        namespace: Any = None,
        _cas_token: Any = None,
        _conn: Any = None,
    ) -> Any:
        dumps = dumps_fn or self.serializer.dumps
        name = self.build_key(key, namespace)
        return await self._set(name, dumps(value), ttl=self._get_ttl(ttl), _cas_token=_cas_token, _conn=_conn)

    @command(fake_return=True)
    async def multi_set(
        self, pairs: Any, ttl: Any = SENTINEL, dumps_fn: Any = None, namespace: Any = None, _conn: Any = None
    ) -> bool:
        dumps = dumps_fn or self.serializer.dumps
        made = [(self.build_key(key, namespace), dumps(value)) for key, value in pairs]
        await self._multi_set(made, ttl=self._get_ttl(ttl), _conn=_conn)
        return True

    @command(fake_return=0)
    async def delete(self, key: Any, namespace: Any = None, _conn: Any = None) -> int:
        return await self._delete(self.build_key(key, namespace), _conn=_conn)

    @command(fake_return=False)
    async def exists(self, key: Any, namespace: Any = None, _conn: Any = None) -> bool:
        return await self._exists(self.build_key(key, namespace), _conn=_conn)

    @command(fake_return=1)
    async def increment(self, key: Any, delta: int = 1, namespace: Any = None, _conn: Any = None) -> int:
        return await self._increment(self.build_key(key, namespace), delta, _conn=_conn)

    @command(fake_return=False)
    async def expire(self, key: Any, ttl: Any, namespace: Any = None, _conn: Any = None) -> bool:
        return await self._expire(self.build_key(key, namespace), ttl, _conn=_conn)

    @command(fake_return=True)
    async def clear(self, namespace: Any = None, _conn: Any = None) -> bool:
        return await self._clear(namespace, _conn=_conn)

    @command()
    async def raw(self, name: str, *args: Any, _conn: Any = None, **kwargs: Any) -> Any:
        return await self._raw(name, *args, encoding=self.serializer.encoding, _conn=_conn, **kwargs)

    async def close(self, *args: Any, _conn: Any = None, **kwargs: Any) -> None:
        await self._close(*args, _conn=_conn, **kwargs)

    def get_connection(self) -> _Conn:
        return _Conn(self)

    async def __aenter__(self) -> BaseCache[KeyT]:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    @abstractmethod
    async def _add(self, key: Any, value: Any, ttl: Any, _conn: Any = None) -> Any: ...

    @abstractmethod
    async def _get(self, key: Any, encoding: Any, _conn: Any = None) -> Any: ...

    @abstractmethod
    async def _gets(self, key: Any, encoding: Any = "utf-8", _conn: Any = None) -> Any: ...

    @abstractmethod
    async def _multi_get(self, keys: Any, encoding: Any, _conn: Any = None) -> Any: ...

    @abstractmethod
    async def _set(self, key: Any, value: Any, ttl: Any, _cas_token: Any = None, _conn: Any = None) -> Any: ...

    @abstractmethod
    async def _multi_set(self, pairs: Any, ttl: Any, _conn: Any = None) -> Any: ...

    @abstractmethod
    async def _delete(self, key: Any, _conn: Any = None) -> Any: ...

    @abstractmethod
    async def _exists(self, key: Any, _conn: Any = None) -> Any: ...

    @abstractmethod
    async def _increment(self, key: Any, delta: int, _conn: Any = None) -> Any: ...

    @abstractmethod
    async def _expire(self, key: Any, ttl: Any, _conn: Any = None) -> Any: ...

    @abstractmethod
    async def _clear(self, namespace: Any, _conn: Any = None) -> Any: ...

    @abstractmethod
    async def _raw(self, command: str, *args: Any, **kwargs: Any) -> Any: ...

    @abstractmethod
    async def _redlock_release(self, key: Any, value: Any) -> Any: ...

    @abstractmethod
    async def _close(self, *args: Any, **kwargs: Any) -> Any: ...


class _Conn:
    """Commands that share a connection, where a backend has connections."""

    def __init__(self, cache: Any) -> None:
        self._cache = cache

    async def __aenter__(self) -> _Conn:
        return self

    async def __aexit__(self, *error: object) -> None:
        return None

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._cache, name)
        return functools.partial(method, _conn=self) if name in {made.__name__ for made in API.CMDS} else method
