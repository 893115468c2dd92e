"""The aiocache backend through aiocache's own public methods and decorators."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiocache import cached, cached_stampede, multi_cached
from aiocache.lock import OptimisticLock, OptimisticLockError, RedLock
from aiocache.serializers import NullSerializer, PickleSerializer, StringSerializer

from ferrokv import FerroKV
from ferrokv.contrib.aiocache import FerroKVCache


@pytest.fixture
async def cache(store_path: Path) -> AsyncIterator[FerroKVCache]:
    async with FerroKVCache(store_path) as opened:
        yield opened


async def test_get_set_delete_exists(cache: FerroKVCache) -> None:
    assert await cache.get("k", default=5) == 5
    assert await cache.set("k", {"a": [1, None]}) is True
    assert await cache.get("k") == {"a": [1, None]}
    assert await cache.exists("k") is True
    assert await cache.delete("k") == 1
    assert await cache.delete("k") == 0
    assert await cache.exists("k") is False


async def test_add_refuses_an_existing_key(cache: FerroKVCache) -> None:
    assert await cache.add("k", 1) is True
    with pytest.raises(ValueError, match="already exists"):
        await cache.add("k", 2)
    assert await cache.get("k") == 1


async def test_multi_set_is_one_commit(cache: FerroKVCache) -> None:
    async with FerroKV.open(cache.path) as db:
        before = db.stats().commits
        await cache.multi_set([("a", 1), ("b", 2)], ttl=50)
        assert db.stats().commits == before + 1
    assert await cache.multi_get(["a", "nothing", "b"]) == [1, None, 2]


async def test_float_ttls_count_to_the_millisecond(cache: FerroKVCache) -> None:
    await cache.set("k", 1, ttl=0.75)
    pttl = await cache.raw("pttl", cache.build_key("k"))
    assert 600 < pttl <= 750
    assert await cache.expire("k", 100) is True
    assert await cache.raw("ttl", cache.build_key("k")) == 100
    assert await cache.expire("k", 0) is True
    assert await cache.raw("ttl", cache.build_key("k")) == -1
    assert await cache.expire("nothing", 5) is False


async def test_increment(cache: FerroKVCache) -> None:
    assert await cache.increment("n") == 1
    assert await cache.increment("n", 5) == 6
    assert sorted(await asyncio.gather(*(cache.increment("n") for _ in range(50)))) == list(range(7, 57))
    await cache.set("text", "abc")
    with pytest.raises(TypeError, match="not an integer"):
        await cache.increment("text")


async def test_clear_honours_the_namespace(store_path: Path) -> None:
    async with FerroKVCache(store_path, namespace="a:") as one, FerroKVCache(store_path, namespace="b:") as two:
        await one.set("k", 1)
        await two.set("k", 2)
        await one.clear(namespace="a:")
        assert (await one.get("k"), await two.get("k")) == (None, 2)
        await two.clear()
        assert await two.get("k") is None


@pytest.mark.parametrize(
    ("serializer", "value"), [(StringSerializer(), "é"), (NullSerializer(), "plain"), (PickleSerializer(), {1, 2})]
)
async def test_serializers(store_path: Path, serializer: object, value: object) -> None:
    async with FerroKVCache(store_path, serializer=serializer) as cache:
        await cache.set("k", value)
        assert await cache.get("k") == value


async def test_values_outlive_the_process_that_wrote_them(store_path: Path, run_python) -> None:
    program = """
import asyncio, sys
from ferrokv.contrib.aiocache import FerroKVCache
async def main():
    await FerroKVCache(sys.argv[1]).set("k", "from another process")
asyncio.run(main())
"""
    done = await asyncio.to_thread(run_python, program, str(store_path))
    assert done.returncode == 0, done.stderr
    async with FerroKVCache(store_path) as cache:
        assert await cache.get("k") == "from another process"


async def test_decorators(store_path: Path) -> None:
    calls: list[object] = []

    @cached(ttl=50, cache=FerroKVCache, path=store_path, namespace="one:")
    async def slow(x: int) -> int:
        calls.append(x)
        return x * 2

    assert [await slow(4), await slow(4), await slow(5)] == [8, 8, 10]
    assert calls == [4, 5]

    @multi_cached(keys_from_attr="ids", cache=FerroKVCache, path=store_path, namespace="many:")
    async def many(ids: list[str]) -> dict[str, str]:
        calls.append(tuple(ids))
        return {i: i.upper() for i in ids}

    assert await many(ids=["a", "b"]) == {"a": "A", "b": "B"}
    assert await many(ids=["a", "b", "c"]) == {"a": "A", "b": "B", "c": "C"}
    assert calls[2:] == [("a", "b"), ("c",)]

    @cached_stampede(lease=5, cache=FerroKVCache, path=store_path, namespace="herd:")
    async def herd() -> int:
        calls.append("herd")
        await asyncio.sleep(0.05)
        return 1

    assert await asyncio.gather(*(herd() for _ in range(5))) == [1] * 5
    assert calls.count("herd") == 1
    for decorated in (slow, many, herd):
        await decorated.cache.close()


async def test_locks(cache: FerroKVCache) -> None:
    async with RedLock(cache, "k", lease=5):
        assert await cache.raw("exists", cache.build_key("k") + "-lock") == 1
    assert await cache.raw("exists", cache.build_key("k") + "-lock") == 0
    await cache.set("k", "a")
    async with OptimisticLock(cache, "k") as lock:
        await cache.set("k", "b")
        with pytest.raises(OptimisticLockError):
            await lock.cas("c")
    async with OptimisticLock(cache, "k") as lock:
        assert await lock.cas("c") is True
    assert await cache.get("k") == "c"


async def test_two_event_loops_share_one_cache(cache: FerroKVCache) -> None:
    await cache.set("k", 1)
    other = await asyncio.to_thread(asyncio.run, cache.increment("n"))
    assert other == 1
    assert await cache.increment("n") == 2


def test_the_path_comes_from_a_url() -> None:
    assert FerroKVCache.parse_uri_path("/var/cache") == {"path": "/var/cache"}
