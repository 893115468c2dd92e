"""Stands in the place of the `conftest.py` of aiocache's acceptance tests: their `cache` is ours."""

import asyncio
import os

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
