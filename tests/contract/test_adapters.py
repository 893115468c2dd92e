"""The adapters on the fake: what they need is in the contract, and nothing else."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import caches
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings
from dogpile.cache import make_region

from ferrokv import DataError, register_backend
from ferrokv.contrib.aiocache import FerroKVCache as AiocacheCache
from ferrokv.contrib.django import FerroKVCache
from ferrokv.contrib.django.handles import close_handles
from ferrokv.contrib.django.sessions import SessionStore, flush_user_sessions, user_session_keys

from ..support import django_setup  # noqa: F401 - settings for all tests of this process
from .memory import MemoryBackend

URL = "memory://adapters"


@pytest.fixture(autouse=True)
def backend() -> Iterator[MemoryBackend]:
    """A new memory for each test."""
    made = MemoryBackend()
    register_backend("memory", made)
    yield made
    close_handles(URL)


@pytest.fixture
def cache() -> Iterator[Any]:
    """Django's cache on the fake."""
    with override_settings(CACHES={"default": {"BACKEND": "ferrokv.contrib.django.FerroKVCache", "LOCATION": URL}}):
        close_handles(URL)
        yield caches["default"]


def test_djangos_cache(cache: Any) -> None:
    assert cache.get("a", "none") == "none"
    cache.set("a", {"x": [1, 2]}, timeout=100)
    assert cache.get("a") == {"x": [1, 2]}
    assert cache.add("a", 1) is False
    assert cache.add("b", 1) is True
    assert cache.incr("b", 4) == 5
    assert cache.touch("b", 100) is True
    assert 0 < cache.ttl("b") <= 100
    assert cache.get_many(["a", "b", "c"]) == {"a": {"x": [1, 2]}, "b": 5}
    assert cache.set_many({"c": 1, "d": 2}) == []
    assert cache.keys("*") == ["a", "b", "c", "d"]
    assert list(cache.iter_keys("[cd]")) == ["c", "d"]
    assert cache.incr_version("c") == 2
    assert cache.get("c", version=2) == 1
    assert cache.delete("d") is True
    assert cache.delete_pattern("a*") == 1
    assert cache.has_key("b")
    cache.clear()
    assert cache.get("b") is None


def test_tags_herds_locks_and_blocks(cache: Any) -> None:
    cache.set("page", "html", tags=["author:1"])
    cache.delete_tag("author:1")
    assert cache.get("page") is None
    calls: list[int] = []
    for _ in range(3):
        assert cache.get_or_set("k", lambda: calls.append(1) or "v", stale_ttl=10) == "v"
    assert calls == [1]
    with cache.pipelined():
        cache.set("in", 1)
        assert cache.get("in") == 1
        with cache.lock("l", timeout=5) as lock:
            assert lock.owned()
            assert cache.lock("l").acquire(blocking=False) is False
    assert cache.get("in") == 1
    assert cache.lock("l").locked() is False


def test_djangos_cache_for_asyncio(cache: Any) -> None:
    async def use() -> None:
        await cache.aset("a", 1)
        assert await cache.aget("a") == 1
        assert await cache.aincr("a") == 2
        assert await asyncio.gather(*(cache.aget_or_set("k", lambda: "v") for _ in range(5))) == ["v"] * 5
        async with cache.pipelined():
            await cache.aset("b", 1, tags=["t"])
            async with await cache.alock("l"):
                assert await cache.aget("b") == 1
        await cache.adelete_tag("t")
        assert await cache.aget("b") is None
        assert [key async for key in cache.aiter_keys("*")] == ["a", "k"]

    asyncio.run(use())


def test_djangos_sessions(cache: Any) -> None:
    session = SessionStore()
    session["_auth_user_id"] = "7"
    session.save()
    assert SessionStore(session.session_key)["_auth_user_id"] == "7"
    assert user_session_keys("7") == [session.session_key]
    assert flush_user_sessions("7") == 1
    assert SessionStore(session.session_key).load() == {}


def test_aiocache() -> None:
    async def use() -> None:
        async with AiocacheCache(URL, namespace="n") as cache:
            await cache.set("a", {"x": 1}, ttl=100)
            assert await cache.get("a") == {"x": 1}
            assert await cache.increment("n") == 1
            assert await cache.multi_set([("b", 1), ("c", 2)])
            assert await cache.multi_get(["b", "c", "d"]) == [1, 2, None]
            with pytest.raises(ValueError, match="already exists"):
                await cache.add("b", 1)
            assert await cache.delete("b") == 1
            assert await cache.clear(namespace="n")
            assert await cache.get("a") is None

    asyncio.run(use())


def test_dogpile() -> None:
    region = make_region().configure("ferrokv", arguments={"path": URL})
    calls: list[str] = []

    @region.cache_on_arguments()
    def load(key: str) -> str:
        calls.append(key)
        return key.upper()

    assert [load("a"), load("a"), load("b")] == ["A", "A", "B"]
    assert calls == ["a", "b"]
    region.set_multi({"x": 1, "y": 2})
    assert region.get_multi(["x", "y"]) == [1, 2]
    region.delete_multi(["x"])
    assert not region.get("x")


def test_a_url_of_the_local_backend_is_its_directory(tmp_path: Any) -> None:
    url = f"ferrokv://{tmp_path}/s"
    assert FerroKVCache(url, {})._location.path == str(tmp_path / "s")
    assert AiocacheCache(url).path == str(tmp_path / "s")
    with pytest.raises(ImproperlyConfigured, match="options do not belong"):
        FerroKVCache(url + "?busy_timeout=1", {}).get("k")
    with pytest.raises(ImproperlyConfigured, match="no backend"):
        FerroKVCache("unknown://host", {}).get("k")
    with pytest.raises(DataError, match="options do not belong"):
        AiocacheCache(url + "?busy_timeout=1")


def test_what_is_stored_is_the_same_as_anywhere(cache: Any, backend: MemoryBackend) -> None:
    cache.set("a", 5)
    cache.set("b", "text")
    (memory,) = backend.memories.values()
    assert memory.keyspaces["cache"][b":1:a"][0] == b"5"
    with pytest.raises(pickle.UnpicklingError):
        pickle.loads(memory.keyspaces["cache"][b":1:b"][0])  # it is sealed
