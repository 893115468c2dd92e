"""The aiocache backend through aiocache's own public methods, decorators and locks, on 0.12.

`test_aiocache_one.py` runs the same tests on the 1.0 line.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from enum import Enum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiocache
import pytest
from aiocache import cached, cached_stampede, multi_cached
from aiocache.lock import OptimisticLock, OptimisticLockError, RedLock
from aiocache.plugins import HitMissRatioPlugin, TimingPlugin
from aiocache.serializers import JsonSerializer, NullSerializer, PickleSerializer, StringSerializer
from hypothesis import example, given
from hypothesis import strategies as st

from ferrokv import BlockingFerroKV, DataError, FerroKV, StorePathError
from ferrokv.contrib.aiocache import FerroKVCache
from ferrokv.contrib.aiocache.keys import usual_key
from ferrokv.local.runtime import registry
from ferrokv.local.storage.local import LocalStorage
from ferrokv.local.storage.requests import Sync, WriteAt

from ...conftest import ROOT

ONE = aiocache.__version__.startswith("1.")


@pytest.fixture
async def cache(store_path: Path) -> AsyncIterator[FerroKVCache]:
    async with FerroKVCache(store_path) as opened:
        yield opened


def decorated(decorator: Any, path: Path, function: Any, namespace: str, **options: Any) -> Any:
    """The function with a cache of its own, which 1.0 takes as an object and 0.12 makes itself."""
    if ONE:
        return decorator(FerroKVCache(path, namespace=namespace), **options)(function)
    return decorator(cache=FerroKVCache, path=path, namespace=namespace, **options)(function)


# -- the contract ------------------------------------------------------------------------------------------------


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
        await cache.add("k", 2, ttl=5)
    assert await cache.get("k") == 1
    with pytest.raises(ValueError, match="already exists"):
        await cache._add("k", "a hook's own caller does not wait", ttl=5)


@pytest.mark.usefixtures("standing_clock")
async def test_multi_set_is_one_commit_and_one_sync(cache: FerroKVCache, syncs: list[Sync]) -> None:
    await cache.set("warm", 1)
    syncs.clear()
    pairs = [(f"k{i}", i) for i in range(100)]
    assert await cache.multi_set(pairs, ttl=50) is True
    assert len(syncs) == 1
    assert await cache.multi_get([key for key, _ in pairs] + ["nothing"]) == [*range(100), None]
    assert await cache.raw("ttl", "k99") == 50


@pytest.mark.usefixtures("standing_clock")
async def test_float_ttls_count_to_the_millisecond(cache: FerroKVCache) -> None:
    await cache.set("k", 1, ttl=9.75)
    assert await cache.raw("pttl", "k") == 9_750
    assert await cache.expire("k", 100) is True
    assert await cache.raw("ttl", "k") == 100
    assert await cache.expire("k", 0) is True
    assert await cache.raw("ttl", "k") == -1
    assert await cache.expire("nothing", 5) is False
    assert await cache.expire("nothing", 0) is False


async def test_values_end_with_their_ttl(cache: FerroKVCache) -> None:
    await cache.set("k", 1, ttl=0.05)
    await asyncio.sleep(0.06)
    assert await cache.get("k") is None


@pytest.mark.parametrize("ttl", [0, None, float("inf"), 1e300, 10**30])
async def test_no_ttl_and_ttls_out_of_this_world_are_for_ever(cache: FerroKVCache, ttl: float | None) -> None:
    await cache.set("k", 1, ttl=ttl)
    await cache.multi_set([("l", 1)], ttl=ttl)
    await cache.add("m", 1, ttl=ttl)
    assert [await cache.raw("ttl", key) for key in "klm"] == [-1, -1, -1]
    with pytest.raises(ValueError, match="NaN"):
        await cache.set("k", 2, ttl=float("nan"))
    assert await cache.get("k") == 1


@pytest.mark.usefixtures("standing_clock")
async def test_the_ttl_of_the_cache_counts_where_none_is_given(store_path: Path) -> None:
    async with FerroKVCache(store_path, ttl=60) as cache:
        await cache.set("k", 1)
        await cache.set("l", 1, ttl=None)
        assert (await cache.raw("ttl", "k"), await cache.raw("ttl", "l")) == (60, -1)


@pytest.mark.usefixtures("standing_clock")
async def test_increment(cache: FerroKVCache) -> None:
    assert await cache.increment("n") == 1
    assert await cache.increment("n", 5) == 6
    assert sorted(await asyncio.gather(*(cache.increment("n") for _ in range(50)))) == list(range(7, 57))
    await cache.set("m", 2, ttl=50)
    assert await cache.increment("m", -3) == -1
    assert await cache.raw("ttl", "m") == 50
    for value in ("abc", 1.5, [1]):
        await cache.set("text", value)
        with pytest.raises(TypeError, match="not an integer"):
            await cache.increment("text")
        assert await cache.get("text") == value


async def test_raw_takes_the_methods_of_the_store(cache: FerroKVCache) -> None:
    await cache.raw("rpush", "list", "a", "b")
    assert await cache.raw("lrange", "list", 0, -1) == ["a", "b"]
    assert await cache.raw("mget", "list2", "none") == [None, None]
    assert await cache.raw("keys", "l*") == ["list"]
    await cache.raw("hset", "hash", "f", "v")
    assert await cache.raw("hgetall", "hash") == {"f": "v"}
    assert await cache.raw("keyspaces") == await cache._db.keyspaces()
    await cache.raw("sadd", "set", "m")
    assert await cache.raw("smembers", "set") == {"m"}
    for name in ("no_such_command", "_store", "__class__", "close", "scan", "lock", "stats"):
        with pytest.raises(AttributeError):
            await cache.raw(name)


async def test_a_closed_cache_opens_again(cache: FerroKVCache) -> None:
    await cache.set("k", 1)
    await cache.close()
    assert await cache.get("k") == 1
    async with cache.get_connection() as connection:
        assert await connection.set("k", 2) is True
        assert await connection.get("k") == 2


async def test_plugins(store_path: Path) -> None:
    async with FerroKVCache(store_path, plugins=[HitMissRatioPlugin(), TimingPlugin()]) as cache:
        await cache.set("k", 1)
        await cache.get("k")
        await cache.get("none")
        assert cache.hit_miss_ratio["hit_ratio"] == 0.5
        assert cache.profiling["set_total"] == 1


@pytest.mark.parametrize(
    ("serializer", "value"),
    [
        (JsonSerializer(), {"a": [1.5, None, "é"]}),
        (StringSerializer(), "é"),
        (NullSerializer(), "plain"),
        (PickleSerializer(), {1, 2}),
        (PickleSerializer(), b"\xff\x00"),
    ],
)
@pytest.mark.usefixtures("standing_clock")
async def test_serializers(store_path: Path, serializer: object, value: object) -> None:
    async with FerroKVCache(store_path, serializer=serializer) as cache:
        await cache.set("k", value)
        assert await cache.get("k") == value
        assert await cache.multi_get(["k", "none"]) == [value, None]
        await cache.add("l", value, ttl=50)
        await cache.multi_set([("m", value)])
        assert await cache.multi_get(["l", "m"]) == [value, value]
        async with OptimisticLock(cache, "k") as lock:
            assert await lock.cas(value, ttl=50) is True
        assert await cache.raw("ttl", "k") == 50


def test_arguments_that_nobody_knows(store_path: Path) -> None:
    with pytest.raises(TypeError):
        FerroKVCache(store_path, random_attr="wtf")
    with pytest.raises(DataError):
        FerroKVCache(store_path, block_bytes=1)
    with pytest.raises(DataError):
        FerroKVCache(store_path, options={"nonsense": 1})
    with pytest.raises(ValueError, match="path"):
        FerroKVCache("")
    with pytest.raises(ValueError, match="names the directory"):
        FerroKVCache.parse_uri_path("/")
    assert not store_path.exists()


async def test_a_bounded_cache(store_path: Path) -> None:
    async with FerroKVCache(store_path, max_bytes=1 << 20, block_cache_bytes=1 << 20) as cache:
        await cache.set("k", 1)
        with BlockingFerroKV.open(store_path) as db:
            assert db.stats().quotas == {"aiocache": 1 << 20}


# -- namespaces --------------------------------------------------------------------------------------------------


class Keys(Enum):
    KEY = "key"


async def test_stored_keys(store_path: Path) -> None:
    plain, spaced = FerroKVCache(store_path), FerroKVCache(store_path, namespace="ns")
    assert [plain.build_key(key) for key in ("k", "a:b", 5, Keys.KEY)] == ["k", ":a:b", "5", "key"]
    assert [spaced.build_key(key) for key in ("k", "a:b", Keys.KEY)] == ["ns:k", "ns:a:b", "ns:key"]
    assert spaced.build_key("k", namespace="other") == "other:k"
    assert spaced.build_key("k", namespace="a:b") == "a\\:b:k"
    assert spaced.build_key("k", namespace="") == "k"
    assert spaced.build_key(b"k") == b"ns:k"
    assert plain.build_key(b"a:b") == b":a:b"


names = st.text(alphabet=":\\ab", max_size=5)


@given(names, names, names, names)
@example("a:b", "c", "a", "b:c")
@example("a\\", "b:c", "a:b", "c")
@example("a", "b", "", "a:b")
def test_two_namespaces_never_share_a_stored_key(one: str, key: str, two: str, other: str) -> None:
    first, second = usual_key(key, one), usual_key(other, two)
    assert (first == second) == ((one, key) == (two, other))
    if one:
        head = usual_key("", one)
        assert str(second).startswith(str(head)) == (one == two)


async def test_clearing_a_namespace_is_exact(store_path: Path) -> None:
    spaces = ["", "a", "ab", "a:", "a:b", "b", "a\\", "*", "a*"]
    keys = ["k", "b:c", ":k", "*", "b"]
    async with FerroKVCache(store_path) as cache:
        for cleared in spaces[1:]:
            for space in spaces:
                await cache.multi_set([(key, space) for key in keys], namespace=space)
            assert await cache.clear(namespace=cleared) is True
            for space in spaces:
                found = await cache.multi_get(keys, namespace=space)
                assert found == [None if space == cleared else space] * len(keys)
        await cache.clear()
        assert await cache.raw("keys", "*") == []


async def test_clearing_a_namespace_that_is_too_large_for_one_commit(
    cache: FerroKVCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def too_large(self: FerroKV, *args: Any, **kwargs: Any) -> int:
        raise DataError("too many keys")

    monkeypatch.setattr(FerroKV, "delete_range", too_large)
    monkeypatch.setattr("ferrokv.contrib.aiocache.cache.CLEAR_KEYS", 7)
    for space in ("*", "x", ""):
        await cache.multi_set([(f"k{i}", i) for i in range(20)], namespace=space)
    await cache.clear(namespace="*")
    assert len(await cache.raw("keys", "*")) == 40


async def test_key_builders(store_path: Path) -> None:
    async with FerroKVCache(
        store_path, namespace="a", key_builder=lambda key, namespace: f"{namespace or 'none'}/{key}"
    ) as cache:
        await cache.set("k", 1)
        await cache.set("k", 2, namespace="ab")
        assert sorted(await cache.raw("keys", "*")) == ["a/k", "ab/k"]
        await cache.clear(namespace="a")
        assert await cache.raw("keys", "*") == ["ab/k"]
    for builder in (lambda key, namespace: f"{key}{namespace}", lambda key, namespace: f"x-{key}"):
        async with FerroKVCache(store_path, key_builder=builder) as cache:
            await cache.set("k", 1, namespace="a")
            with pytest.raises(ValueError, match="key_builder"):
                await cache.clear(namespace="a")
            assert await cache.get("k", namespace="a") == 1


# -- decorators --------------------------------------------------------------------------------------------------


async def test_decorators(store_path: Path) -> None:
    calls: list[object] = []

    async def slow(x: int) -> int:
        calls.append(x)
        return x * 2

    async def many(ids: list[str]) -> dict[str, str]:
        calls.append(tuple(ids))
        return {i: i.upper() for i in ids}

    async def herd() -> int:
        calls.append("herd")
        await asyncio.sleep(0.05)
        return 1

    slow = decorated(cached, store_path, slow, "one", ttl=50)
    many = decorated(multi_cached, store_path, many, "many", keys_from_attr="ids")
    herd = decorated(cached_stampede, store_path, herd, "herd", lease=5)
    assert [await slow(4), await slow(4), await slow(5)] == [8, 8, 10]
    assert calls == [4, 5]
    assert await many(ids=["a", "b"]) == {"a": "A", "b": "B"}
    assert await many(ids=["a", "b", "c"]) == {"a": "A", "b": "B", "c": "C"}
    assert calls[2:] == [("a", "b"), ("c",)]
    assert await asyncio.gather(*(herd() for _ in range(5))) == [1] * 5
    assert calls.count("herd") == 1
    for function in (slow, many, herd):
        await function.cache.close()


async def test_a_store_that_can_not_be_opened_does_not_stop_a_decorated_function(
    store_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store_path.write_text("a file")

    async def work() -> int:
        return 5

    function = decorated(cached, store_path, work, "ns")
    assert await function() == 5
    assert "Couldn't retrieve" in caplog.text
    with pytest.raises(StorePathError):
        await function.cache.get("k")


# -- loops, processes, failures ----------------------------------------------------------------------------------


async def test_several_event_loops_share_one_cache(cache: FerroKVCache) -> None:
    async def work() -> None:
        for i in range(50):
            await cache.increment("n")
            await cache.set(f"k{i}", i)
            assert await cache.get(f"k{i}") == i

    threads = [threading.Thread(target=asyncio.run, args=(work(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    await work()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    assert await cache.increment("n", 0) == 250


async def test_many_first_uses_open_the_store_once(cache: FerroKVCache, openings: list[Any]) -> None:
    assert await asyncio.gather(*(cache.increment("n") for _ in range(50))) == [*range(1, 51)]
    assert len(openings) == 1


async def test_who_gives_up_while_opening_does_not_take_the_others_along(
    cache: FerroKVCache, openings: list[Any]
) -> None:
    waiting = [asyncio.ensure_future(cache.increment("n")) for _ in range(3)]
    while not openings:
        await asyncio.sleep(0)
    waiting[0].cancel()
    assert sorted(await asyncio.gather(*waiting[1:])) == [1, 2]
    with pytest.raises(asyncio.CancelledError):
        await waiting[0]
    assert len(openings) == 2
    key = (os.path.realpath(cache.path), False)
    assert key in registry._stores
    await cache.close()
    async with asyncio.timeout(60):  # the thread of the first opening gives back what nobody waited for
        while key in registry._stores:
            await asyncio.sleep(0.001)


async def test_who_waited_for_an_opening_that_failed_is_told(store_path: Path, openings: list[Any]) -> None:
    """One after the other they would each wait for `busy_timeout`."""
    store_path.write_text("a file")
    cache = FerroKVCache(store_path)
    answers = await asyncio.gather(*(cache.get("k") for _ in range(20)), return_exceptions=True)
    assert {type(answer) for answer in answers} == {StorePathError}
    assert len({str(answer) for answer in answers}) == 1
    assert len(openings) == 1
    store_path.unlink()
    assert await cache.get("k") is None
    assert len(openings) == 2
    await cache.close()


async def test_all_adapters_of_a_process_share_one_engine(cache: FerroKVCache) -> None:
    await cache.set("k", 1)
    async with FerroKVCache(cache.path, keyspace="other") as other:
        await other.set("k", 2)
        with BlockingFerroKV.open(cache.path) as db:
            assert db._store is cache._db._store is other._db._store  # type: ignore[attr-defined]
    assert await cache.get("k") == 1


async def test_values_outlive_the_process_that_wrote_them(store_path: Path, run_python: Any) -> None:
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


def test_a_forked_child_goes_on(store_path: Path) -> None:
    cache = FerroKVCache(store_path)
    asyncio.run(cache.set("k", 1))
    pid = os.fork()
    if pid == 0:  # pragma: no cover - in the child
        code = 1
        try:
            code = 0 if asyncio.run(cache.increment("k")) == 2 else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert asyncio.run(cache.get("k")) == 2
    asyncio.run(cache.close())


async def test_a_timeout_leaves_all_of_a_write_or_nothing(cache: FerroKVCache, monkeypatch: pytest.MonkeyPatch) -> None:
    await cache.set("warm", 1)
    may_write = threading.Event()
    perform = LocalStorage.perform

    def slow(self: LocalStorage, request: Any) -> Any:
        if isinstance(request, WriteAt):
            may_write.wait(10)
        return perform(self, request)

    monkeypatch.setattr(LocalStorage, "perform", slow)
    pairs = [(f"k{i}", i) for i in range(100)]
    with pytest.raises(asyncio.TimeoutError):
        await cache.multi_set(pairs, timeout=0.05)
    with pytest.raises(asyncio.TimeoutError):
        await cache.add("k0", "other", timeout=0.05)
    assert await cache.multi_get([key for key, _ in pairs]) == [None] * 100
    may_write.set()
    await cache.set("behind", 1)
    assert await cache.multi_get([key for key, _ in pairs]) == [*range(100)]


async def test_values_that_can_not_be_serialized_raise_before_anything_is_written(store_path: Path) -> None:
    async with FerroKVCache(store_path, serializer=PickleSerializer()) as cache:
        await cache.set("k", "kept")
        for write in (
            lambda: cache.set("k", lambda: None),
            lambda: cache.add("l", lambda: None),
            lambda: cache.multi_set([("l", 1), ("k", lambda: None)]),
        ):
            with pytest.raises((pickle.PicklingError, AttributeError, TypeError)):
                await write()
        assert await cache.multi_get(["k", "l"]) == ["kept", None]
    async with FerroKVCache(store_path, serializer=NullSerializer()) as cache:
        with pytest.raises(DataError):
            await cache.multi_set([("l", "fine"), ("k", {"no": "bytes"})])
        assert await cache.exists("l") is False


# -- locks -------------------------------------------------------------------------------------------------------


async def test_locks_in_one_loop(cache: FerroKVCache) -> None:
    async with RedLock(cache, "k", lease=5) as _:
        assert await cache.raw("exists", cache.build_key("k-lock")) == 1
    assert await cache.raw("exists", cache.build_key("k-lock")) == 0
    await cache.set("k", "a")
    async with OptimisticLock(cache, "k"):
        await cache.set("k", "b")
    async with OptimisticLock(cache, "k") as lock:
        await cache.set("k", "d")
        with pytest.raises(OptimisticLockError):
            await lock.cas("c")
    async with OptimisticLock(cache, "k") as lock:
        assert await lock.cas("c") is True
    assert await cache.get("k") == "c"


async def _add_one(cache: FerroKVCache, key: str) -> None:
    value = await cache.get(key, default=0)
    await asyncio.sleep(0.001)
    await cache.set(key, value + 1)


async def test_a_red_lock_holds_among_tasks_and_event_loops(cache: FerroKVCache) -> None:
    async def work() -> None:
        for _ in range(10):
            async with RedLock(cache, "n", lease=20):
                await _add_one(cache, "n")

    async def two() -> None:
        await asyncio.gather(work(), work())

    threads = [threading.Thread(target=asyncio.run, args=(two(),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    assert await cache.get("n") == 60
    assert RedLock._EVENTS == {}


async def test_who_waits_for_a_red_lock_waits_for_the_lease_at_most(
    cache: FerroKVCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    await RedLock(cache, "k", lease=600).__aenter__()
    seconds = itertools.count(1)  # one goes by between two looks
    with monkeypatch.context() as patched:
        patched.setattr("ferrokv.contrib.aiocache.redlock.time", SimpleNamespace(monotonic=lambda: next(seconds)))
        async with RedLock(cache, "k", lease=3):
            assert next(seconds) == 5, "it began at 1, and 4 was the end"
    assert await cache.exists("k-lock"), "it was not his to release"
    async with RedLock(cache, "short", lease=0.05):
        await asyncio.sleep(0.06)
        async with RedLock(cache, "short", lease=5):
            assert await cache.exists("short-lock")
    RedLock._EVENTS.clear()


async def test_a_lock_whose_taker_was_cancelled_is_free(cache: FerroKVCache) -> None:
    await cache.set("warm", 1)
    taken = 0
    for i in range(100):
        task = asyncio.create_task(RedLock(cache, f"k{i}", lease=30).__aenter__())
        await asyncio.sleep(i * 0.00001)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            continue
        taken += 1
    await cache.set("behind", 1)
    await asyncio.sleep(0.05)
    assert len(await cache.raw("keys", "*-lock")) == taken < 100
    RedLock._EVENTS.clear()


async def test_events_of_locks_that_were_lost_by_time_are_forgotten(cache: FerroKVCache) -> None:
    for i in range(20):
        async with RedLock(cache, f"k{i}", lease=0.001):
            await asyncio.sleep(0.003)
    assert RedLock._EVENTS == {}


async def test_the_holder_in_another_loop_may_take_the_event_along(
    cache: FerroKVCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = cache._redlock_release

    async def release_late(key: Any, value: Any) -> int:
        released = await release(key, value)
        RedLock._EVENTS.clear()  # as the next holder does, who came and went meanwhile
        return released

    monkeypatch.setattr(cache, "_redlock_release", release_late)
    async with RedLock(cache, "k", lease=5):
        assert await cache.exists("k-lock")
    assert not await cache.exists("k-lock")


async def test_without_a_lease_nobody_waits_for_ever(cache: FerroKVCache) -> None:
    async with RedLock(cache, "k", lease=None):  # type: ignore[arg-type]
        pass
    await cache.set("j-lock", "of a process that died")
    async with asyncio.timeout(5):
        async with RedLock(cache, "j", lease=None):  # type: ignore[arg-type]
            pass


WORKER = """
import asyncio, sys
from aiocache.lock import OptimisticLock, OptimisticLockError, RedLock
from ferrokv.contrib.aiocache import FerroKVCache

async def red(cache):
    async with RedLock(cache, "n", lease=30):
        value = await cache.get("n", default=0)
        await asyncio.sleep(0.002)
        await cache.set("n", value + 1)

async def optimistic(cache):
    while True:
        try:
            async with OptimisticLock(cache, "n") as lock:
                await lock.cas(await cache.get("n") + 1)
            return
        except OptimisticLockError:
            await asyncio.sleep(0)

async def main():
    async with FerroKVCache(sys.argv[1], namespace="locks") as cache:
        for _ in range(int(sys.argv[3])):
            await globals()[sys.argv[2]](cache)

asyncio.run(main())
"""


@pytest.mark.parametrize("kind", ["red", "optimistic"])
async def test_a_lock_holds_across_processes(store_path: Path, run_python: Callable[..., Any], kind: str) -> None:
    async with FerroKVCache(store_path, namespace="locks") as cache:
        await cache.set("n", 0)
        done = await asyncio.gather(
            *(asyncio.to_thread(run_python, WORKER, str(store_path), kind, "25") for _ in range(4))
        )
        assert [(one.returncode, one.stderr) for one in done] == [(0, "")] * 4
        assert await cache.get("n") == 100


HOLDER = """
import asyncio, sys
from aiocache.lock import RedLock
from ferrokv.contrib.aiocache import FerroKVCache

async def main():
    await RedLock(FerroKVCache(sys.argv[1]), "k", lease=600).__aenter__()
    print("held", flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_the_lease_frees_the_lock_of_a_process_that_was_killed(cache: FerroKVCache) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((os.environ.get("PYTHONPATH", ""), str(ROOT)))}
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, cache.path], stdout=subprocess.PIPE, env=environment, text=True, cwd=ROOT
    ) as holder:
        assert holder.stdout is not None
        assert await asyncio.to_thread(holder.stdout.readline) == "held\n"
        with pytest.raises(ValueError, match="already exists"):
            await cache.add("k-lock", "held")
        holder.send_signal(signal.SIGKILL)
        assert await cache.raw("pttl", "k-lock") > 30_000
        await cache.raw("pexpire", "k-lock", 50)
        lock = RedLock(cache, "k", lease=300)
        async with lock:
            assert await cache.raw("get", "k-lock") == lock._value, "it is that of this process"


STAMPEDE = """
import asyncio, sys
from pathlib import Path
import aiocache
from aiocache import cached_stampede
from ferrokv.contrib.aiocache import FerroKVCache

options = {"path": sys.argv[1], "namespace": "herd"}
kind = cached_stampede(FerroKVCache(**options), lease=30) if aiocache.__version__.startswith("1.") else (
    cached_stampede(cache=FerroKVCache, lease=30, **options))

@kind
async def compute(number):
    with open(sys.argv[2], "a") as log:
        log.write(f"{number}\\n")
    await asyncio.sleep(0.02)
    return number

async def main():
    for number in range(10):
        assert await asyncio.gather(*(compute(number) for _ in range(3))) == [number] * 3

asyncio.run(main())
"""


async def test_a_stampede_across_processes_computes_once(
    store_path: Path, tmp_path: Path, run_python: Callable[..., Any]
) -> None:
    done = await asyncio.gather(
        *(asyncio.to_thread(run_python, STAMPEDE, str(store_path), str(tmp_path / "log")) for _ in range(4))
    )
    assert [(one.returncode, one.stderr) for one in done] == [(0, "")] * 4
    assert sorted(map(int, (tmp_path / "log").read_text().split())) == list(range(10))


# -- what 0.12 has, and 1.0 has not ------------------------------------------------------------------------------


def test_the_path_comes_from_a_url() -> None:
    assert FerroKVCache.parse_uri_path("/var/my%20cache") == {"path": "/var/my cache"}


if not ONE:
    from aiocache import Cache, caches

    @pytest.mark.usefixtures("standing_clock")
    async def test_a_cache_is_made_from_a_url(tmp_path: Path) -> None:
        url = f"ferrokv://{tmp_path}/my%20store?namespace=ns&ttl=60&block_cache_bytes=1000000&max_bytes=5000000"
        cache = Cache.from_url(url)
        assert isinstance(cache, FerroKVCache)
        assert cache.path == f"{tmp_path}/my store"
        async with cache:
            await cache.set("k", 1)
            assert await cache.raw("keys", "*") == ["ns:k"]
            assert await cache.raw("ttl", "ns:k") == 60
        with pytest.raises(ValueError, match="invalid literal"):
            Cache.from_url(f"ferrokv://{tmp_path}/store?block_cache_bytes=large")

    async def test_aliases(store_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(caches, "_caches", {})
        monkeypatch.setattr(caches, "_config", caches.get_config())
        caches.set_config(
            {
                "default": {
                    "cache": "ferrokv.contrib.aiocache.FerroKVCache",
                    "path": str(store_path),
                    "namespace": "main",
                    "serializer": {"class": "aiocache.serializers.PickleSerializer"},
                    "plugins": [{"class": "aiocache.plugins.HitMissRatioPlugin"}],
                }
            }
        )
        calls: list[int] = []

        @cached(alias="default", key="k")
        async def work() -> set[int]:
            calls.append(1)
            return {1}

        assert [await work(), await work()] == [{1}, {1}]
        assert calls == [1]
        assert caches.get("default") is work.cache
        assert await work.cache.raw("keys", "*") == [b"main:k"], "this serializer has no encoding"
        await work.cache.close()
