"""The decorators of the 1.0 line, which take a cache object, with the arguments that the tests use."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

from aiocache.base import SENTINEL

logger = logging.getLogger(__name__)


class cached:  # noqa: N801 - aiocache's name
    """One call, one key."""

    def __init__(self, cache: Any, *, ttl: Any = SENTINEL, key: str | None = None) -> None:
        self.cache, self.ttl, self.key = cache, ttl, key

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            key = self.key or f"{function.__module__}{function.__name__}{args}{sorted(kwargs.items())}"
            found = await self.get_from_cache(key)
            return await self.compute(key, functools.partial(function, *args, **kwargs)) if found is None else found

        wrapper.cache = self.cache  # type: ignore[attr-defined]
        return wrapper

    async def compute(self, key: str, function: Callable[[], Any]) -> Any:
        value = await function()
        await self.set_in_cache(key, value)
        return value

    async def get_from_cache(self, key: str) -> Any:
        try:
            return await self.cache.get(key)
        except Exception:
            logger.exception("Couldn't retrieve %s, unexpected error", key)

    async def set_in_cache(self, key: str, value: Any) -> None:
        try:
            await self.cache.set(key, value, ttl=self.ttl)
        except Exception:
            logger.exception("Couldn't set %s in key %s, unexpected error", value, key)


class cached_stampede(cached):  # noqa: N801
    """One caller computes, under a RedLock."""

    def __init__(self, cache: Any, *, lease: float = 2, **kwargs: Any) -> None:
        super().__init__(cache, **kwargs)
        self.lease = lease

    async def compute(self, key: str, function: Callable[[], Any]) -> Any:
        from aiocache.lock import RedLock

        async with RedLock(self.cache, key, self.lease):
            found = await self.get_from_cache(key)
            return await super().compute(key, function) if found is None else found


class multi_cached:  # noqa: N801
    """A function from keys to a dict, whose parts are cached."""

    def __init__(self, cache: Any, keys_from_attr: str) -> None:
        self.cache, self.keys_from_attr = cache, keys_from_attr

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        async def wrapper(**kwargs: Any) -> Any:
            keys = kwargs[self.keys_from_attr]
            found = dict(zip(keys, await self.cache.multi_get(keys), strict=True))
            missing = [key for key, value in found.items() if value is None]
            if missing:
                computed = await function(**{**kwargs, self.keys_from_attr: missing})
                await self.cache.multi_set(list(computed.items()))
                found.update(computed)
            return found

        wrapper.cache = self.cache  # type: ignore[attr-defined]
        return wrapper
