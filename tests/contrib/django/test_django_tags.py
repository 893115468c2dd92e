"""Tags, stale values, and what they mean for every method of the cache."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches
from django.test import override_settings

from ferrokv.contrib.codecs.envelopes import EPOCH

from ...support.django_setup import BACKEND, configured


@pytest.fixture
def cache(store_path: Path) -> Iterator[Any]:
    with configured(store_path, {"other": {"KEYSPACE": "other"}}) as made:
        yield made


class Clock:
    """The time by which soft expiries are judged. It stands still until it is moved."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import time

        self._ahead = 0.0
        began = time.time()
        monkeypatch.setattr(time, "time", lambda: began + self._ahead)

    def advance(self, seconds: float) -> None:
        self._ahead += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_an_invalidated_tag_ends_its_values_and_no_others(cache: Any) -> None:
    cache.set("a", "A", tags=["user:1", "list"])
    cache.set("b", "B", tags="user:2")
    cache.set("c", 3, tags=["list"])
    cache.set("d", "D")
    cache.set_many({"e": 1, "f": 2}, tags=["list"])
    caches["other"].set("a", "theirs", tags=["list"])
    assert cache.get_many("abcdef") == {"a": "A", "b": "B", "c": 3, "d": "D", "e": 1, "f": 2}
    cache.delete_tag("user:1")
    assert cache.get("a") is None
    assert cache.get("c") == 3
    cache.delete_tag("list", "none")
    assert cache.get_many("abcdef") == {"b": "B", "d": "D"}
    assert caches["other"].get("a") == "theirs"
    cache.set("a", "again", tags=["user:1", "list"])
    assert cache.get("a") == "again"


def test_an_invalidated_value_is_missing_for_every_method(cache: Any) -> None:
    def dead(key: str, value: Any = 5) -> str:
        cache.set(key, value, 100, tags=["t"])
        cache.delete_tag("t")
        return key

    assert cache.has_key(dead("a")) is False
    assert dead("a") not in cache
    assert cache.touch(dead("a")) is False
    assert cache.delete(dead("a")) is False
    assert cache.add(dead("a"), 6) is True
    assert cache.get("a") == 6
    assert cache.set(dead("a"), 7, xx=True) is False
    assert cache.set(dead("a"), 7, nx=True) is True
    assert cache.set(dead("a"), 7, timeout=0, nx=True) is True
    assert cache.ttl(dead("a")) == 0
    assert cache.expire("a", 5) is False
    assert cache.persist("a") is False
    for method in (cache.incr, cache.decr, cache.incr_version):
        with pytest.raises(ValueError, match="not found"):
            method(dead("a"))
    assert cache.incr(dead("a"), ignore_key_check=True) == 1
    assert cache.keys("*") == ["a"]
    assert list(cache.iter_keys(dead("*"))) == ["a"]
    assert cache.get_or_set(dead("a"), lambda: 8) == 8
    assert cache.delete_pattern("*") == 2


@pytest.mark.usefixtures("standing_clock")
def test_tagged_integers_count_and_keep_tags_and_timeout(cache: Any) -> None:
    cache.set("n", 5, 100, tags=["t"])
    assert cache.incr("n") == 6
    assert cache.decr("n", 2) == 4
    assert cache.get("n") == 4
    assert cache.ttl("n") == 100
    cache.set("word", "x", tags=["t"])
    with pytest.raises(TypeError):
        cache.incr("word")
    assert cache.touch("n", 50) is True
    assert cache.ttl("n") == 50
    assert cache.incr_version("n") == 2
    assert cache.get("n", version=2) == 4
    cache.delete_tag("t")
    assert cache.get("n", version=2) is None
    assert cache.get("word") is None


def test_tags_belong_to_a_key_prefix(store_path: Path) -> None:
    entry = {"BACKEND": BACKEND, "LOCATION": store_path}
    with configured(store_path), override_settings(CACHES={"default": entry, "twin": {**entry, "KEY_PREFIX": "twin"}}):
        caches["default"].set("k", 1, tags=["t"])
        caches["twin"].set("k", 2, tags=["t"])
        caches["twin"].delete_tag("t")
        assert caches["default"].get("k") == 1
        assert caches["twin"].get("k") is None


def test_clearing_forgets_the_tags_and_revives_nothing(cache: Any) -> None:
    """A value whose tags were looked up before an invalidation and a clearing, and that is stored after both."""
    guard = cache._guard(["t"])
    cache.delete_tag("t")
    cache.clear()
    tags = cache._tags_location.blocking
    assert tags.keys("*") == [EPOCH]
    name = cache._key("k", None)
    from ferrokv.contrib.codecs.envelopes import seal_in

    cache._location.blocking.set(name, seal_in(b"5", None, guard))
    assert cache.get("k") is None
    cache.set("k", 6, tags=["t"])
    assert cache.get("k") == 6


def test_too_many_or_too_long_tags_are_refused(cache: Any) -> None:
    cache.set("k", 1, tags=[str(i) for i in range(255)])
    assert cache.get("k") == 1
    for tags in ([str(i) for i in range(256)], ["x" * 70_000]):
        with pytest.raises(ValueError, match="tags"):
            cache.set("k", 2, tags=tags)
    assert cache.get("k") == 1


def test_an_invalidation_during_a_computation_outlives_it(cache: Any) -> None:
    def compute() -> str:
        cache.delete_tag("t")  # the data that this computation has just read changes
        return "old"

    assert cache.get_or_set("k", compute, tags=["t"]) == "old"
    assert cache.get("k") is None
    assert cache.get_or_set("k", lambda: "new", tags=["t"]) == "new"
    assert cache.get("k") == "new"


def test_a_stale_value_is_missing_except_for_those_who_ask_for_it(cache: Any, clock: Clock) -> None:
    assert cache.get_or_set("k", lambda: 5, 100, stale_ttl=50) == 5
    assert cache.ttl("k") == 100
    assert cache.incr("k") == 6
    clock.advance(101)
    assert cache.get("k") is None
    assert cache.has_key("k") is False
    assert cache.ttl("k") == 0
    assert cache.touch("k") is False
    with pytest.raises(ValueError, match="not found"):
        cache.incr("k")
    seen: list[Any] = []

    def compute() -> int:
        others = threading.Thread(target=lambda: seen.append(caches["default"].get_or_set("k", int, 100, stale_ttl=50)))
        others.start()
        others.join()
        return 7

    assert cache.get_or_set("k", compute, 100, stale_ttl=50) == 7
    assert seen == [6], "who asks while it is computed gets the stale value at once"
    assert cache.get("k") == 7


@pytest.mark.usefixtures("standing_clock")
def test_touching_makes_a_value_with_a_soft_expiry_an_ordinary_one(cache: Any, clock: Clock) -> None:
    for change in (lambda: cache.touch("k", 300), lambda: cache.expire("k", 300), lambda: cache.pexpire("k", 300_000)):
        cache.delete("k")
        cache.get_or_set("k", lambda: 5, 100, stale_ttl=50)
        assert change() is True
        assert cache.ttl("k") == 300
    assert cache.persist("k") is True
    assert cache.ttl("k") is None
    clock.advance(1_000)
    assert cache.get("k") == 5


def test_a_stale_value_without_a_computation_is_replaced(cache: Any, clock: Clock) -> None:
    cache.get_or_set("k", lambda: 5, 100, stale_ttl=500)
    clock.advance(101)
    assert cache.add("k", 6, 100) is True
    assert cache.get("k") == 6
    cache.get_or_set("tagged", lambda: 5, 100, stale_ttl=500, tags=["t"])
    cache.delete_tag("t")
    assert cache.get_or_set("tagged", lambda: 8, 100, stale_ttl=500) == 8, "what a tag ended is not stale but gone"


async def test_the_asynchronous_twins(cache: Any, clock: Clock) -> None:
    await cache.aset("a", 1, tags=["t"])
    await cache.aset_many({"b": 2}, tags=["t"])
    assert await cache.aget_many(["a", "b"]) == {"a": 1, "b": 2}
    assert await cache.aincr("a") == 2
    assert await cache.atouch("a", 10) is True
    await cache.adelete_tag("t")
    assert await cache.aget("a") is None
    assert await cache.ahas_key("b") is False
    assert await cache.aadd("a", 3) is True
    assert await cache.akeys("*") == ["a"]

    computing, go = asyncio.Event(), asyncio.Event()

    async def compute() -> str:
        computing.set()
        await go.wait()
        return "new"

    assert await cache.aget_or_set("s", lambda: "old", 100, stale_ttl=100) == "old"
    clock.advance(101)
    leader = asyncio.create_task(cache.aget_or_set("s", compute, 100, stale_ttl=100))
    await computing.wait()
    assert await cache.aget_or_set("s", compute, 100, stale_ttl=100) == "old"
    go.set()
    assert await leader == "new"
    assert await cache.aget("s") == "new"


def test_invalidating_races_with_setting_and_never_leaves_an_older_value(cache: Any) -> None:
    """Each writer reads a number, stores it under a tag, and the owner of the number invalidates after each change."""
    number = [0]
    stop = threading.Event()
    wrong: list[str] = []

    def read_through() -> None:
        mine = caches["default"]
        while not stop.is_set():
            low = number[0]
            found = mine.get_or_set("n", lambda: number[0], tags=["n"])
            if found < low - 1:  # changed, but not yet invalidated, is all that may be seen
                wrong.append(f"{found} after {low}")

    threads = [threading.Thread(target=read_through) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(150):
        number[0] += 1
        cache.delete_tag("n")
        if cache.get("n", number[0]) != number[0]:
            wrong.append("an old value was there right after the invalidation")
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
