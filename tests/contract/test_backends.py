"""What every backend has to do, for threads and for asyncio: the same tests for the local one and for the fake."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from ferrokv import (
    Capability,
    DataError,
    LockError,
    LockNotOwnedError,
    ResponseError,
    StoreClosed,
    WriteBatch,
    connect,
    connect_blocking,
    register_backend,
)

from .memory import MemoryBackend


class Either:
    """A handle of either kind: each of its methods is awaited."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.inner, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            answer = method(*args, **kwargs)
            return await answer if inspect.isawaitable(answer) else answer

        return call


@pytest.fixture(params=["local", "memory"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a backend keeps the data."""
    register_backend("memory", MemoryBackend())
    return str(tmp_path / "store") if request.param == "local" else "memory://test"


@pytest_asyncio.fixture(params=[connect, connect_blocking], ids=["asyncio", "threads"])
async def db(location: str, request: pytest.FixtureRequest) -> AsyncIterator[Either]:
    """A handle on a new store."""
    handle = Either(request.param(location))
    yield handle
    await handle.close()


async def test_a_value_is_what_was_set(db: Either) -> None:
    assert await db.get("a") is None
    assert await db.set("a", "1") is True
    assert await db.get("a") == b"1"
    assert await db.mget(["a", "missing", b"a"]) == [b"1", None, b"1"]
    assert await db.exists("a", "a", "missing") == 2
    assert await db.delete("a", "missing") == 1
    assert await db.get("a") is None


async def test_a_condition_decides_whether_a_value_is_set(db: Either) -> None:
    assert await db.set("a", 1, xx=True) is None
    assert await db.set("a", 1, nx=True) is True
    assert await db.set("a", 2, nx=True) is None
    assert await db.set("a", 3, xx=True, get=True) == b"1"
    assert await db.get("a") == b"3"
    with pytest.raises(DataError):
        await db.set("a", 1, nx=True, xx=True)


async def test_values_expire(db: Either) -> None:
    assert await db.set("a", 1, px=100_000)
    assert 90_000 < await db.pttl("a") <= 100_000
    assert await db.set("b", 1)
    assert await db.pttl("b") == -1
    assert await db.pttl("missing") == -2
    assert await db.psetex("c", 100_000, "v")
    assert await db.get("c") == b"v"
    assert await db.psetex("c", 1, "v")
    await asyncio.sleep(0.005)
    assert await db.get("c") is None
    assert await db.exists("c") == 0
    with pytest.raises(ResponseError, match="invalid expire time"):
        await db.set("a", 1, px=0)


async def test_the_time_of_expiry_can_be_changed(db: Either) -> None:
    await db.set("a", 1)
    assert await db.expire("a", 100) is True
    assert await db.expire("a", 100, nx=True) is False
    assert await db.pexpire("a", 50_000, lt=True) is True
    assert await db.pexpire("a", 40_000, gt=True) is False
    assert 40_000 < await db.pttl("a") <= 50_000
    assert await db.expireat("a", int(time.time()) + 1000) is True
    assert await db.pexpireat("a", int(time.time() * 1000) + 900_000) is True
    assert 800_000 < await db.pttl("a") <= 900_000
    assert await db.persist("a") is True
    assert await db.persist("a") is False
    assert await db.expire("missing", 1) is False
    assert await db.expire("a", -1) is True
    assert await db.exists("a") == 0


async def test_getex_reads_and_sets_the_expiry(db: Either) -> None:
    await db.set("a", 1)
    assert await db.getex("a", px=100_000) == b"1"
    assert await db.pttl("a") > 90_000
    assert await db.getex("a") == b"1"
    assert await db.pttl("a") > 90_000
    assert await db.getex("a", persist=True) == b"1"
    assert await db.pttl("a") == -1
    assert await db.getex("missing", px=10) is None


async def test_counters(db: Either) -> None:
    assert await db.incr("n") == 1
    assert await db.incr("n", 5) == 6
    assert await db.incr("missing", 1, xx=True) is None
    assert await db.exists("missing") == 0
    await db.pexpire("n", 100_000)
    assert await db.incr("n", -7) == -1
    assert await db.pttl("n") > 0
    await db.set("text", "x")
    with pytest.raises(ResponseError, match="not an integer"):
        await db.incr("text")
    await db.set("n", (1 << 63) - 1)
    with pytest.raises(ResponseError, match="overflow"):
        await db.incr("n")


async def test_counting_is_atomic(db: Either) -> None:
    async def count() -> None:
        for _ in range(20):
            await db.incr("n")

    await asyncio.gather(*(count() for _ in range(5)))
    assert await db.get("n") == b"100"


async def test_compare_and_set_compares(db: Either) -> None:
    assert await db.compare_and_set("a", "1", "2") is False
    await db.set("a", "1")
    assert await db.compare_and_set("a", "0", "2") is False
    assert await db.compare_and_set("a", "1", "2") is True
    assert await db.compare_and_delete("a", "1") is False
    assert await db.compare_and_delete("a", "2") is True
    assert await db.get("a") is None


async def test_a_batch_is_written_in_order(db: Either) -> None:
    await db.set("gone", 1)
    assert await db.write(WriteBatch().set("a", 1).set("b", 2, px=100_000).delete("gone", "missing").set("a", 3))
    assert await db.mget(["a", "b", "gone"]) == [b"3", b"2", None]
    assert await db.pttl("b") > 0


async def test_a_key_is_renamed_with_its_expiry(db: Either) -> None:
    await db.set("a", 1, px=100_000)
    await db.set("b", 2)
    assert await db.rename("a", "b") is True
    assert await db.get("b") == b"1"
    assert await db.pttl("b") > 0
    with pytest.raises(ResponseError, match="no such key"):
        await db.rename("a", "b")


async def test_keys_by_pattern_and_by_range(db: Either) -> None:
    for name in ("a:1", "a:2", "b:1", "c*"):
        await db.set(name, 1)
    assert await db.keys("a:*") == [b"a:1", b"a:2"]
    assert await db.keys("c\\*") == [b"c*"]
    assert await db.keys() == [b"a:1", b"a:2", b"b:1", b"c*"]
    assert await db.delete_range(prefix="a:") == 2
    assert await db.delete_range("b:1", "c") == 1
    assert await db.keys() == [b"c*"]


async def test_names_are_iterated(db: Either) -> None:
    for i in range(300):
        await db.set(f"k{i:03}", 1)
    iterator = db.inner.scan_iter("k1*")
    names = [name async for name in iterator] if hasattr(iterator, "__aiter__") else list(iterator)
    assert names == [b"k%03d" % i for i in range(100, 200)]


async def test_sorted_sets_as_the_sessions_use_them(db: Either) -> None:
    assert await db.zadd("z", {"a": 3, "b": 1}) == 2
    assert await db.zadd("z", {"a": 2, "c": 9}) == 1
    assert await db.zrange("z", 0, -1) == [b"b", b"a", b"c"]
    assert await db.zremrangebyscore("z", "-inf", 1) == 1
    assert await db.zrem("z", "a", "missing") == 1
    assert await db.zrem("z", "c") == 1
    assert await db.exists("z") == 0
    await db.zadd("z", {"a": 1})
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await db.get("z")


async def test_keyspaces_do_not_meet(db: Either) -> None:
    other = Either(db.inner.keyspace("other"))
    await db.set("a", 1)
    await other.set("a", 2)
    assert await db.flushdb() is True
    assert await db.get("a") is None
    assert await other.get("a") == b"2"
    await other.close()
    await db.set("a", 3)


async def test_a_transaction_is_all_or_nothing(db: Either) -> None:
    def move(tx: Any) -> int:
        tx.keyspace("other").set("a", tx.get("a"))
        return int(tx.delete("a"))

    def fail(tx: Any) -> None:
        tx.set("a", 5)
        raise KeyError("mine")

    await db.set("a", 1)
    with pytest.raises(KeyError, match="mine"):
        await db.transaction(fail)
    assert await db.get("a") == b"1"
    assert await db.transaction(move) == 1
    assert await db.get("a") is None
    other = Either(db.inner.keyspace("other"))
    assert await other.get("a") == b"1"
    await other.close()


async def test_transactions_are_serializable(db: Either) -> None:
    def count(tx: Any) -> None:
        tx.set("n", int(tx.get("n") or 0) + 1)

    await asyncio.gather(*(db.transaction(count) for _ in range(20)))
    assert await db.get("n") == b"20"


async def test_a_lock_excludes(db: Either) -> None:
    first, second = Either(db.inner.lock("l")), Either(db.inner.lock("l"))
    assert await first.acquire() is True
    assert await second.acquire(blocking=False) is False
    assert await second.acquire(blocking_timeout=0.02) is False
    assert await first.owned() is True
    assert await second.locked() is True
    await first.release()
    assert await second.locked() is False
    with pytest.raises(LockError, match="unlocked"):
        await first.release()
    assert await second.acquire() is True
    await second.release()


async def test_a_lock_expires_and_can_be_extended(db: Either) -> None:
    lock = Either(db.inner.lock("l", timeout=100))
    assert await lock.acquire()
    assert await lock.extend(1000)
    assert await db.pttl("l") > 1_000_000
    assert await lock.reacquire()
    assert await db.pttl("l") <= 100_000
    brief = Either(db.inner.lock("brief", timeout=0.001))
    assert await brief.acquire()
    await asyncio.sleep(0.005)
    assert await brief.owned() is False
    with pytest.raises(LockNotOwnedError):
        await brief.release()


async def test_changes_wake_who_waits(db: Either) -> None:
    with (await db.ready()).changes("job") as changes:
        waiting = Either(changes)
        assert await waiting.wait(0.01) is False
        await db.set("job", 1)
        assert await waiting.wait(60) is True


async def test_a_deferral_is_seen_by_its_own_commands_and_settled(db: Either) -> None:
    await db.ready()
    deferral = db.inner.deferral()
    within = Either(db.inner.within(deferral))
    with deferral:
        await within.write(WriteBatch().set("a", 1))
        assert await within.get("a") == b"1"
        assert await within.incr("a") == 2
        assert await within.transaction(lambda tx: tx.get("a")) == b"2"
    assert await db.get("a") == b"2"


def test_a_deferral_of_another_backend_is_refused(tmp_path: Path) -> None:
    register_backend("memory", MemoryBackend())
    with connect_blocking(tmp_path / "one") as one:
        other = connect_blocking("memory://other")
        with pytest.raises(DataError, match="deferral"):
            one.within(other.deferral())


async def test_a_closed_handle_refuses(db: Either) -> None:
    await db.set("a", 1)
    await db.close()
    await db.close()
    for use in (db.get("a"), db.set("a", 1), db.transaction(lambda tx: None)):
        with pytest.raises(StoreClosed):
            await use


@pytest.mark.parametrize("key", ["", b"", "x" * 65_536, 5, None])
async def test_wrong_keys_are_refused(db: Either, key: Any) -> None:
    for use in (db.get(key), db.set(key, 1), db.delete(key), db.incr(key), db.pttl(key)):
        with pytest.raises(DataError):
            await use


@pytest.mark.parametrize("value", [True, None, [1], object()])
async def test_wrong_values_are_refused(db: Either, value: Any) -> None:
    with pytest.raises(DataError):
        await db.set("a", value)


async def test_a_backend_says_what_it_has(db: Either, location: str) -> None:
    capabilities = db.inner.capabilities
    assert isinstance(capabilities, frozenset)
    assert all(isinstance(capability, Capability) for capability in capabilities)
    assert (Capability.DURABILITY in capabilities) == ("://" not in location)


def test_threads_share_a_handle(location: str) -> None:
    handle = connect_blocking(location)
    threads = [threading.Thread(target=handle.incr, args=("n",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert handle.get("n") == b"8"
    handle.close()
