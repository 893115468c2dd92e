"""What an attack on collections, transactions, locks and quotas found, kept as tests."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ferrokv import (
    BlockingFerroKV,
    CorruptionError,
    DataError,
    FerroKV,
    FerroKVError,
    ResponseError,
    Tx,
    WatchError,
)
from ferrokv.local.commands import keys, lists
from ferrokv.local.format.roots import FIRST_INDEX, HASH, LIST, RootFields, decode_root
from ferrokv.testing.simulated import SimulatedStorage

from ..support.harness import EngineHarness, ManualClock
from .test_collections import ask, content


def test_dropping_the_tables_of_a_dead_list_drops_nothing_else() -> None:
    """Between its elements and its owner stand all the user keys: a table that holds both is not of one generation alone."""
    store = EngineHarness(SimulatedStorage(1), ManualClock())
    for i in range(5):
        store.set(b"precious:%d" % i, b"value")
    store.write(lists.push, b"small", [b"living"], False, False)
    for i in range(0, 400, 40):
        store.write(lists.push, b"big", [b"%d" % n for n in range(i, i + 40)], False, False)
    store.rotate()
    store.flush()
    store.compact(everything=True)
    store.delete(b"big")
    for _ in range(10):
        store.set(b"z", b"")
        store.rotate()
        store.flush()
        store.compact()
    assert ask(store, keys.all_keys) == [*(b"precious:%d" % i for i in range(5)), b"small", b"z"]
    assert content(store, b"small") == [b"living"]
    store.check()


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError, StopIteration])
async def test_whatever_a_transaction_raises_the_writer_lives_on(store_path: Path, error: type[BaseException]) -> None:
    async with FerroKV.open(store_path) as db:

        def fails(tx: Tx) -> None:
            tx.set("a", 1)
            raise error

        raised: list[type[BaseException]] = []

        async def run() -> None:
            try:
                await db.transaction(fails)
            except BaseException as found:
                raised.append(type(found))

        neighbours = [db.set(f"n{i}", 1) for i in range(5)]
        await asyncio.gather(run(), *neighbours)
        assert raised == [RuntimeError if error is StopIteration else error]
        assert await db.set("b", 1) is True
        assert await db.get("a") is None
        assert await db.exists("n0", "n1", "n2", "n3", "n4") == 5


@pytest.mark.timeout(60)
def test_a_transaction_that_raises_among_other_writers_stops_nobody(db: BlockingFerroKV) -> None:
    go_on = True

    def count() -> None:
        while go_on:
            db.incr("n")

    threads = [threading.Thread(target=count, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        with pytest.raises(KeyboardInterrupt):
            db.transaction(_interrupted)
    go_on = False
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert db.get("a") is None


def _interrupted(tx: Tx) -> None:
    tx.set("a", 1)
    raise KeyboardInterrupt


def test_a_keyspace_of_a_transaction_ends_with_it(db: BlockingFerroKV) -> None:
    kept = db.transaction(lambda tx: tx.keyspace("other"))
    with pytest.raises(FerroKVError, match="over"):
        kept.set("n", 1)

    async def waits() -> None:
        """Never awaited."""

    for function in (lambda tx: waits(), lambda tx: (tx.set("a", i) for i in range(2))):
        with pytest.raises(DataError, match="plain function"):
            db.transaction(function)
    assert db.get("a") is None


async def test_a_cancelled_acquiring_leaves_no_lock_behind(store_path: Path) -> None:
    async with FerroKV.open(store_path) as db:
        for _ in range(60):
            load = [asyncio.create_task(db.set("load", 1)) for _ in range(3)]
            acquiring = asyncio.create_task(db.lock("l").acquire())
            await asyncio.sleep(random.random() * 0.001)
            acquiring.cancel()
            was_taken = await asyncio.gather(acquiring, return_exceptions=True) == [True]
            await asyncio.gather(*load)
            await db.set("behind", 1)
            assert await db.exists("l") == was_taken
            await db.delete("l")


async def test_a_blocked_pop_waits_on_when_something_else_comes_to_stand_there(store_path: Path) -> None:
    async with FerroKV.open(store_path) as db:
        waiting = asyncio.create_task(db.blpop("q", timeout=20))
        await asyncio.sleep(0.02)
        await db.set("q", "string")
        await asyncio.sleep(0.03)
        assert not waiting.done()
        await db.delete("q")
        await db.rpush("q", "element")
        assert await waiting == (b"q", b"element")


@pytest.mark.parametrize("ttl", [-(10**17), -(2**63), 2**63, -(2**70), 10**17])
def test_an_expiry_out_of_range_is_refused_and_deletes_nothing(db: BlockingFerroKV, ttl: int) -> None:
    db.set("s", 1)
    with pytest.raises(ResponseError, match=r"invalid expire time in 'expire' command|out of range"):
        db.expire("s", ttl)
    with pytest.raises(ResponseError, match=r"invalid expire time in 'expireat' command|out of range"):
        db.expireat("s", ttl)
    if abs(ttl) >= 2**63 and ttl != -(2**63):
        with pytest.raises(ResponseError, match="value is not an integer or out of range"):
            db.pexpireat("s", ttl)
    assert db.ttl("s") == -1


def test_writing_a_key_again_and_again_counts_once(db: BlockingFerroKV) -> None:
    assert db.transaction(lambda tx: [tx.append("k", b"x" * 1000) for _ in range(1000)])[-1] == 1_000_000
    pipe = db.pipeline()
    for _ in range(1000):
        pipe.append("p", b"x" * 1000)
    assert pipe.execute()[-1] == 1_000_000


def test_the_largest_value_can_be_set_and_pushed(db: BlockingFerroKV) -> None:
    largest = bytes(64 << 20)
    assert db.set("k", largest) is True
    assert db.rpush("l", largest) == 1
    assert db.strlen("k") == len(largest)
    with pytest.raises(DataError):
        db.set("k", largest + b"x")


def test_most_of_a_long_list_is_trimmed_away_by_writing_what_stays(db: BlockingFerroKV) -> None:
    db.rpush("l", *range(2000))
    db.expire("l", 1000)
    written = db.stats().records_written
    assert db.ltrim("l", 10, 14) is True
    assert db.lrange("l", 0, -1) == [b"10", b"11", b"12", b"13", b"14"]
    assert db.stats().records_written - written < 10
    assert db.ttl("l") > 990
    db.rpush("l", *range(2000))
    assert len(db.rpop("l", 2003)) == 2003
    assert db.lrange("l", 0, -1) == [b"10", b"11"]


def test_watch_notices_a_collection_that_was_changed_back(db: BlockingFerroKV) -> None:
    changes: list[Callable[[], object]] = [
        lambda: (db.rename("l", "m"), db.rename("m", "l")),
        lambda: (db.expire("l", 100), db.persist("l")),
        lambda: (db.rpush("l", 2), db.rpop("l")),
    ]
    for change in changes:
        db.flushdb()
        db.rpush("l", 1)
        pipe = db.pipeline()
        pipe.watch("l")
        change()
        pipe.multi()
        pipe.set("done", 1)
        with pytest.raises(WatchError):
            pipe.execute()


@pytest.mark.parametrize(
    "call",
    [
        lambda db: db.mget(None),
        lambda db: db.sinter(5),
        lambda db: db.zunion(True),
        lambda db: db.blpop(None),
        lambda db: db.hmget("h", None),
        lambda db: db.smismember("S", None),
        lambda db: db.lpos("l", "x", count=[]),
        lambda db: db.bitpos("s", 1, [], 5),
        lambda db: db.bitpos("s", 1, None, 5),
        lambda db: db.bitcount("s", 0, 1, 5),
        lambda db: db.bitop(None, "d", "s"),
        lambda db: db.srandmember("S", -(2**63)),
        lambda db: db.zadd("z", {"m": "1e400"}),
        lambda db: db.zadd("z", {"m": "1e-400"}),
        lambda db: db.incrbyfloat("f", "1e-5000"),
        lambda db: db.keyspace("\ud800"),
        lambda db: db.lock("l", sleep=-1),
        lambda db: db.lock("l", blocking_timeout="x"),
        lambda db: db.blpop("l2", float("inf")),
        lambda db: db.lpop("l", "x"),
        lambda db: db.set("s", 1, ex="five"),
    ],
)
def test_arguments_that_make_no_sense_are_refused_by_name(db: BlockingFerroKV, call: Callable[[Any], Any]) -> None:
    db.set("s", "abc")
    db.rpush("l", 1)
    db.hset("h", "f", 1)
    db.sadd("S", "m")
    db.zadd("z", {"a": 1})
    with pytest.raises((DataError, ResponseError)):
        call(db)


def test_numbers_may_be_spelled(db: BlockingFerroKV) -> None:
    db.rpush("l", 1, 2, 3)
    assert db.lrange("l", "0", "-1") == [b"1", b"2", b"3"]  # type: ignore[arg-type]
    assert db.incrby("n", "5") == 5  # type: ignore[arg-type]
    assert db.lpop("l", "2") == [b"1", b"2"]  # type: ignore[arg-type]
    assert db.set("s", 1, ex="50") is True  # type: ignore[arg-type]
    assert db.expire("s", "70") is True  # type: ignore[arg-type]
    assert 68 <= db.ttl("s") <= 70
    assert db.blpop("none", "0.01") is None  # type: ignore[arg-type]


def test_a_command_that_fails_in_any_way_fails_alone_in_a_pipeline(db: BlockingFerroKV) -> None:
    db.zadd("z", {"a": 1})

    def cast(score: float) -> None:
        raise KeyError(score)

    answers = db.pipeline().set("a", 1).zrange("z", 0, -1, withscores=True, score_cast_func=cast).execute(False)
    assert answers[0] is True
    assert isinstance(answers[1], KeyError)
    assert db.get("a") == b"1"


@pytest.mark.parametrize(
    "fields",
    [
        RootFields(LIST, 1, 1, 3, 0),
        RootFields(LIST, 1, 1, 3, (1 << 64) - 1),
        RootFields(LIST, 1, 1, (1 << 64) - 1, FIRST_INDEX),
        RootFields(LIST, 1, (1 << 64) - 1, 3, FIRST_INDEX),
        RootFields(HASH, 1, 1, 0, 0),
        RootFields(HASH, 1, 1, 3, FIRST_INDEX),
    ],
)
def test_a_root_that_does_not_add_up_is_damage(fields: RootFields) -> None:
    with pytest.raises(CorruptionError, match="add up"):
        decode_root(fields.encode())


def test_a_hash_with_more_fields_than_its_root_counts_is_damage(db: BlockingFerroKV) -> None:
    db.hset("h", mapping={"a": 1, "b": 2})

    def damage(tx: Any) -> None:
        value, expires = tx.get(b"h")
        tx.put(b"h", decode_root(value)._replace(size=1).encode(), expires)

    db._write(damage)
    for call in (lambda: db.hgetall("h"), lambda: db.hdel("h", "a", "b")):
        with pytest.raises(CorruptionError):
            call()


def test_a_read_only_handle_can_ask_whether_a_lock_is_held(store_path: Path) -> None:
    with BlockingFerroKV.open(store_path) as db, BlockingFerroKV.open(store_path, read_only=True) as reader:
        assert reader.lock("l").locked() is False
        with db.lock("l"):
            assert reader.lock("l").locked() is True
