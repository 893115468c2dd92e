"""Transactions, pipelines, locks and blocking pops: across threads, event loops and processes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import ferrokv
from ferrokv import (
    BlockingFerroKV,
    DataError,
    FerroKV,
    FerroKVError,
    LockError,
    LockNotOwnedError,
    ResponseError,
    StoreBusy,
    StoreReadOnly,
    Tx,
    WatchError,
)

from ..support.peer import Peer

ROOT = Path(__file__).parent.parent.parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
ACCOUNTS = [f"account:{i}" for i in range(5)]
TRANSFERS = """
import random, sys
from ferrokv import BlockingFerroKV
from tests.engine.test_transactions import transfer, check_sum

with BlockingFerroKV.open(sys.argv[1]) as db:
    for _ in range(60):
        transfer(db.transaction)
        assert db.transaction(check_sum) == 500
"""


def transfer(transaction: Callable[[Callable[[Tx], Any]], Any]) -> Any:
    """Move a random sum between two random accounts, unless that would overdraw."""
    pid = os.getpid()
    source, target = ACCOUNTS[time.monotonic_ns() % 5], ACCOUNTS[(time.monotonic_ns() // 7 + pid) % 5]

    def move(tx: Tx) -> bool:
        amount = 1 + time.monotonic_ns() % 30
        if int(tx.get(source) or 0) < amount:
            return False
        tx.decrby(source, amount)
        tx.incrby(target, amount)
        tx.rpush("journal", f"{source} {target} {amount}")
        return True

    return transaction(move)


def check_sum(tx: Tx) -> int:
    return sum(int(value or 0) for value in tx.mget(ACCOUNTS))


def test_money_is_neither_made_nor_lost_across_threads_loops_and_processes(store_path: Path) -> None:
    with BlockingFerroKV.open(store_path) as db:
        db.mset(dict.fromkeys(ACCOUNTS, 100))
        programs = [
            subprocess.Popen(
                [sys.executable, "-c", TRANSFERS, str(store_path)],
                cwd=ROOT,
                env=ENVIRONMENT,
            )
            for _ in range(2)
        ]
        failures: list[BaseException] = []

        def in_a_thread() -> None:
            try:
                for _ in range(60):
                    transfer(db.transaction)
                    assert db.transaction(check_sum) == 500
            except BaseException as error:
                failures.append(error)

        async def in_a_loop() -> None:
            async with FerroKV.open(store_path) as other:

                async def some() -> None:
                    for _ in range(20):
                        await transfer(other.transaction)
                        assert await other.transaction(check_sum) == 500

                await asyncio.gather(*(some() for _ in range(3)))

        threads = [threading.Thread(target=in_a_thread) for _ in range(2)]
        for thread in threads:
            thread.start()
        asyncio.run(in_a_loop())
        for thread in threads:
            thread.join()
        assert [program.wait(60) for program in programs] == [0, 0]
        assert failures == []
        balances = dict.fromkeys(ACCOUNTS, 100)
        for line in db.lrange("journal", 0, -1):
            source, target, amount = line.decode().split()
            balances[source] -= int(amount)
            balances[target] += int(amount)
        assert [int(value or 0) for value in db.mget(ACCOUNTS)] == list(balances.values())
        assert sum(balances.values()) == 500


def test_write_skew_does_not_happen(store_path: Path) -> None:
    """Two doctors are on call; each may leave only if the other stays. Snapshot isolation would let both go."""
    with BlockingFerroKV.open(store_path) as db, BlockingFerroKV.open(store_path) as other:
        for round_ in range(50):
            db.mset({"alice": "on", "bob": "on"})
            barrier = threading.Barrier(2)

            def leave(handle: BlockingFerroKV, name: str, barrier: threading.Barrier = barrier) -> None:
                def run(tx: Tx) -> None:
                    if tx.mget("alice", "bob").count(b"on") == 2:
                        tx.set(name, "off")

                barrier.wait()
                handle.transaction(run)

            threads = [threading.Thread(target=leave, args=pair) for pair in ((db, "alice"), (other, "bob"))]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert db.mget("alice", "bob").count(b"on") == 1, round_


ON_CALL = """
import asyncio, sys
from ferrokv import BlockingFerroKV, FerroKV
from tests.engine.test_transactions import leave

async def in_a_loop(path, name):
    async with FerroKV.open(path) as db:
        while (await db.blpop("go:" + name))[1] == b"on":
            await db.transaction(lambda tx: leave(tx, name))
            await db.rpush("done", name)

def in_a_thread(path, name):
    with BlockingFerroKV.open(path) as db:
        while db.blpop("go:" + name)[1] == b"on":
            db.transaction(lambda tx: leave(tx, name))
            db.rpush("done", name)

if sys.argv[2] == "alice":
    asyncio.run(in_a_loop(sys.argv[1], "alice"))
else:
    in_a_thread(sys.argv[1], "bob")
"""


def leave(tx: Tx, name: str) -> None:
    """Go off call, if the other stays."""
    if tx.mget("alice", "bob").count(b"on") == 2:
        tx.set(name, "off")


def test_write_skew_does_not_happen_between_processes_either(store_path: Path) -> None:
    with BlockingFerroKV.open(store_path) as db:
        programs = [
            subprocess.Popen([sys.executable, "-c", ON_CALL, str(store_path), name], cwd=ROOT, env=ENVIRONMENT)
            for name in ("alice", "bob")
        ]
        for round_ in range(40):
            db.mset({"alice": "on", "bob": "on"})
            db.pipeline().rpush("go:alice", "on").rpush("go:bob", "on").execute()
            for _ in programs:
                assert db.blpop("done", timeout=60) is not None
            assert db.mget("alice", "bob").count(b"on") == 1, round_
        db.pipeline().rpush("go:alice", "end").rpush("go:bob", "end").execute()
        assert [program.wait(60) for program in programs] == [0, 0]


def test_a_transaction_that_raises_leaves_nothing(db: BlockingFerroKV) -> None:
    db.rpush("list", 1)

    def fails(tx: Tx) -> None:
        tx.set("a", 1)
        tx.lpop("list")
        tx.keyspace("other").set("b", 1)
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        db.transaction(fails)
    assert db.keys() == [b"list"]
    assert db.lrange("list", 0, -1) == [b"1"]
    with db.keyspace("other") as other:
        assert other.dbsize() == 0


def test_a_transaction_sees_its_own_writes_and_goes_on_after_a_refusal(db: BlockingFerroKV) -> None:
    db.set("text", "abc")
    db.zadd("z", {"a": 1, "b": 2})

    def run(tx: Tx) -> list[Any]:
        seen: list[Any] = [tx.rpush("l", 1, 2), tx.lrange("l", 0, -1), tx.delete("text"), tx.get("text")]
        with pytest.raises(ResponseError, match="WRONGTYPE"):
            tx.incr("l")
        tx.zadd("z", {"c": 0})
        seen += [tx.zrange("z", 0, -1), tx.keys(), tx.scan(), tx.blpop("nothing")]
        other = tx.keyspace("other")
        other.set("k", 1)
        tx.flushdb()
        tx.set("k", 2)
        seen += [tx.keys(), other.get("k"), tx.get("z")]
        return seen

    answers = db.transaction(run)
    assert answers[:4] == [2, [b"1", b"2"], 1, None]
    assert answers[4:] == [[b"c", b"a", b"b"], [b"l", b"z"], [], None, [b"k"], b"1", None]
    assert db.keys() == [b"k"]
    with db.keyspace("other") as other:
        assert other.get("k") == b"1"


def test_a_transaction_is_of_no_use_when_it_is_over_and_takes_no_other_handle(db: BlockingFerroKV) -> None:
    kept: list[Tx] = []
    db.transaction(kept.append)
    with pytest.raises(FerroKVError, match="over"):
        kept[0].get("a")
    with pytest.raises(StoreBusy):
        db.transaction(lambda tx: db.set("a", 1))
    assert db.set("a", 2) is True


def test_a_transaction_of_a_hundred_writes_is_one_commit(db: BlockingFerroKV) -> None:
    before = db.stats().commits
    db.transaction(lambda tx: [tx.rpush("l", i) for i in range(100)])
    assert db.stats().commits == before + 1
    pipe = db.pipeline()
    for i in range(100):
        pipe.hset("h", str(i), i)
    assert pipe.execute() == [1] * 100
    assert db.stats().commits == before + 2


def test_a_transaction_that_is_too_large_is_refused_whole(db: BlockingFerroKV, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ferrokv.local.tree.overlay.BATCH_RECORDS_MAX", 10)
    with pytest.raises(DataError, match="at most"):
        db.transaction(lambda tx: [tx.set(str(i), i) for i in range(11)])
    assert db.keys() == []


def is_noticed(db: BlockingFerroKV, key: str, change: Callable[[], object]) -> bool:
    """Whether a pipeline that watches the key refuses to run after the change."""
    with db.pipeline() as pipe:
        pipe.watch(key, "none")
        pipe.multi()
        pipe.set("done", 1)
        change()
        with suppress(WatchError):
            pipe.execute()
    return db.get("done") is None


def test_a_pipeline_watches_strings_and_collections(db: BlockingFerroKV) -> None:
    for change in (
        lambda: db.rpush("l", "more"),
        lambda: db.lset("l", 0, "else"),
        lambda: db.delete("l"),
        lambda: db.expire("l", 100),
        lambda: db.rename("l", "m"),
        lambda: db.set("l", 1),
    ):
        db.flushdb()
        db.rpush("l", 1)
        assert is_noticed(db, "l", change)
    for write in (lambda: db.expire("s", 100), lambda: db.persist("s"), lambda: db.set("s", 2), lambda: db.delete("s")):
        db.set("s", 1, ex=50)
        assert is_noticed(db, "s", write)
    assert not is_noticed(db, "l", lambda: db.get("l"))
    db.flushdb()
    with db.pipeline() as pipe:
        pipe.watch("none")
        assert pipe.get("none") is None, "answered at once, before MULTI"
        db.rpush("l2", 1)
        pipe.multi()
        with pytest.raises(ResponseError, match="WATCH after a MULTI"):
            pipe.watch("x")
        with pytest.raises(ResponseError, match="nested"):
            pipe.multi()
        assert pipe.set("done", 1).get("done").execute() == [True, b"1"]
        assert len(pipe) == 0
        assert pipe
        pipe.get("done")
        with pytest.raises(ResponseError, match="without an initial WATCH"):
            pipe.multi()


def test_a_pipeline_raises_the_first_error_when_all_have_run(db: BlockingFerroKV) -> None:
    db.set("s", 1)
    with pytest.raises(ResponseError, match="Command # 2 of pipeline caused error: WRONGTYPE"):
        db.pipeline().set("a", 1).lpush("s", 1).set("b", 2).execute()
    assert db.mget("a", "b") == [b"1", b"2"]
    assert db.pipeline().execute() == []


def test_a_pipeline_that_only_reads_takes_no_turn_at_writing_and_sees_one_moment(store_path: Path) -> None:
    with BlockingFerroKV.open(store_path) as db:
        db.rpush("l", 1, 2)
        db.set("s", "x")
        commits = db.stats().commits
        with BlockingFerroKV.open(store_path, read_only=True) as reader:
            answers = reader.pipeline().lrange("l", 0, -1).get("l").keys().strlen("s").execute(raise_on_error=False)
            assert [answers[0], *answers[2:]] == [[b"1", b"2"], [b"l", b"s"], 1]
            assert isinstance(answers[1], ResponseError)
            with pytest.raises(StoreReadOnly):
                reader.pipeline().set("a", 1).execute()
            for call in (
                lambda: reader.rpush("l", 3),
                lambda: reader.lock("k").acquire(),
                lambda: reader.transaction(Tx.keys),
            ):
                with pytest.raises(StoreReadOnly):
                    call()
        assert db.stats().commits == commits


@pytest.mark.parametrize("moved", [False, True])
async def test_a_snapshot_reads_every_type_in_both_directions(store_path: Path, moved: bool) -> None:
    async with FerroKV.open(store_path) as db:
        await db.mset({"s:1": "a", "s:2": "b"})
        await db.rpush("l", *range(5))
        await db.hset("h", mapping={"f": 1, "g": 2})
        await db.sadd("set", "x", "y")
        await db.zadd("z", {"a": 1, "b": 2, "c": 3})
        async with db.snapshot() as snapshot:
            await db.delete("s:1", "l", "h", "set", "z")
            await db.rpush("l", "new")
            await db.zadd("z", {"d": 4})
            if moved:
                await db.compact()
            assert [key async for key in snapshot.scan_iter()] == [b"h", b"l", b"s:1", b"s:2", b"set", b"z"]
            assert [pair async for pair in snapshot.scan(reverse=True)] == [(b"s:2", b"b"), (b"s:1", b"a")]
            assert await snapshot.lrange("l", 0, -1) == [b"0", b"1", b"2", b"3", b"4"]
            assert await snapshot.hgetall("h") == {b"f": b"1", b"g": b"2"}
            assert [pair async for pair in snapshot.hscan_iter("h", match="g*")] == [(b"g", b"2")]
            assert await snapshot.smembers("set") == {b"x", b"y"}
            assert await snapshot.zrange("z", 0, -1, desc=True, withscores=True) == [
                (b"c", 3.0),
                (b"b", 2.0),
                (b"a", 1.0),
            ]
            assert await snapshot.zrevrangebyscore("z", "+inf", "(1", 0, 1) == [b"c"]
            assert await snapshot.dbsize() == 6
            with pytest.raises(ResponseError, match="WRONGTYPE"):
                await snapshot.get("l")
        assert await db.lrange("l", 0, -1) == [b"new"]


async def test_the_asyncio_pipeline_and_transaction(store_path: Path) -> None:
    async with FerroKV.open(store_path) as db, db.pipeline() as pipe:
        assert await pipe.set("a", 1).incr("a").execute() == [True, 2]
        await pipe.watch("a")
        assert await pipe.get("a") == b"2"
        pipe.multi()
        pipe.incr("a")
        await db.incr("a")
        with pytest.raises(WatchError):
            await pipe.execute()
        await pipe.watch("a")
        assert await pipe.unwatch() is True
        assert await pipe.incr("a").execute() == [4]
        pipe.incr("a")
        await pipe.reset()
        assert await pipe.execute() == []
        assert await db.transaction(lambda tx: (tx.incr("a"), tx.get("a"))) == (5, b"5")
        with pytest.raises(ZeroDivisionError):
            await db.transaction(lambda tx: tx.set("a", 1) and 1 // 0)
        assert await db.get("a") == b"5"


def test_a_blocking_pop_wakes_for_another_process(store_path: Path) -> None:
    with BlockingFerroKV.open(store_path) as db, Peer(store_path) as peer:
        peer.call("get", "warm")
        found: list[Any] = []
        waiting = threading.Thread(
            target=lambda: found.append((db.blpop(["none", "jobs"], timeout=20), time.monotonic()))
        )
        waiting.start()
        time.sleep(0.1)
        assert found == []
        pushed = time.monotonic()
        peer.call("rpush", "jobs", "work")
        waiting.join(20)
        assert found[0][0] == (b"jobs", b"work")
        assert found[0][1] >= pushed
        assert db.llen("jobs") == 0
        began = time.monotonic()
        assert db.brpop("jobs", timeout=0.05) is None
        assert time.monotonic() - began >= 0.05
        with pytest.raises(ResponseError, match="negative"):
            db.blpop("jobs", timeout=-1)
        db.set("jobs", 1)
        with pytest.raises(ResponseError, match="WRONGTYPE"):
            db.blpop("jobs", timeout=1)


async def test_each_element_goes_to_one_of_many_waiters(store_path: Path) -> None:
    async with FerroKV.open(store_path) as db:
        waiters = [asyncio.create_task(db.blpop("jobs", timeout=20)) for _ in range(10)]
        moved = asyncio.create_task(db.blmove("more", "done", 20))
        await asyncio.sleep(0.02)
        await db.rpush("jobs", *range(10))
        answers = await asyncio.gather(*waiters)
        assert sorted(int(answer[1]) for answer in answers if answer) == list(range(10))
        cancelled = asyncio.create_task(db.bzpopmin("z"))
        await asyncio.sleep(0.02)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        await db.zadd("z", {"m": 1})
        assert await db.bzpopmin("z") == (b"z", b"m", 1.0)
        await db.rpush("more", "x")
        assert await moved == b"x"
        assert await db.lrange("done", 0, -1) == [b"x"]


def test_a_lock_is_exclusive_and_knows_its_owner(db: BlockingFerroKV, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = db.lock("l", timeout=100)
    assert lock.acquire() is True
    assert (lock.owned(), lock.locked()) == (True, True)
    other = db.lock("l", sleep=0.01)
    assert other.acquire(blocking=False) is False
    assert other.acquire(blocking_timeout=0.03) is False
    with pytest.raises(LockError, match="unlocked"):
        other.release()
    with pytest.raises(LockError, match="within the time"), db.lock("l", blocking_timeout=0.01, sleep=0.01):
        pytest.fail("the lock was held")
    assert lock.extend(50) is True
    assert 140 <= db.ttl("l") <= 150
    assert lock.reacquire() is True
    assert 90 <= db.ttl("l") <= 100
    assert lock.extend(7, replace_ttl=True) is True
    assert db.ttl("l") <= 7
    db.delete("l")  # as if it had run out of time
    assert lock.owned() is False
    with pytest.raises(LockNotOwnedError):
        lock.extend(5)
    with pytest.raises(LockNotOwnedError):
        lock.release()
    with pytest.raises(LockError, match="unlocked"):
        lock.release()
    with other:
        assert other.locked()
        with pytest.raises(LockError, match="no timeout"):
            other.extend(5)
    assert db.get("l") is None
    assert isinstance(lock, ferrokv.BlockingLock)


def test_a_lock_that_is_local_to_a_thread_is_not_released_by_another(db: BlockingFerroKV) -> None:
    lock, shared = db.lock("l"), db.lock("s", thread_local=False)
    lock.acquire()
    shared.acquire()
    refused: list[str] = []

    def release() -> None:
        try:
            lock.release()
        except LockError as error:
            refused.append(str(error))
        shared.release()

    thread = threading.Thread(target=release)
    thread.start()
    thread.join()
    assert refused == ["Cannot release an unlocked lock"]
    assert db.exists("l", "s") == 1


HOLDER = """
import sys, time
from ferrokv import BlockingFerroKV
db = BlockingFerroKV.open(sys.argv[1])
assert db.lock("l").acquire(blocking=False)
print("held", flush=True)
time.sleep(600)
"""


def test_a_lock_is_freed_by_the_death_of_its_process_and_by_nothing_less(store_path: Path) -> None:
    with BlockingFerroKV.open(store_path) as db:
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(store_path)],
            cwd=ROOT,
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
        )
        assert holder.stdout is not None
        with holder:
            assert holder.stdout.readline() == b"held\n"
            holder.send_signal(signal.SIGSTOP)
            assert db.lock("l").acquire(blocking=False) is False
            assert db.lock("l").locked() is True
            holder.kill()
        assert db.lock("l").locked() is False
        lock = db.lock("l")
        assert lock.acquire(blocking_timeout=20) is True
        lock.release()


async def test_the_asyncio_lock_lets_one_task_in_at_a_time(store_path: Path) -> None:
    async with FerroKV.open(store_path) as db:
        inside = 0

        async def enter() -> None:
            nonlocal inside
            async with db.lock("l", timeout=60, sleep=0.001, thread_local=False):
                inside += 1
                assert inside == 1
                await asyncio.sleep(0.001)
                inside -= 1

        await asyncio.gather(*(enter() for _ in range(10)))
        assert await db.exists("l") == 0


def test_what_is_too_large_is_refused_as_soon_as_it_is(db: BlockingFerroKV, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others wait for the turn at writing, so nothing may be read or written that is refused in the end."""
    monkeypatch.setattr("ferrokv.local.tree.overlay.BATCH_RECORDS_MAX", 10)
    monkeypatch.setattr("ferrokv.local.tree.overlay.TRANSACTION_BYTES_MAX", 10_000)
    db.set("k", 1)
    db.delete("k")
    done: list[int] = []

    def write_much(tx: Tx, size: int, *, within: bool) -> None:
        for _ in range(100):
            if within:
                tx.hset("h", str(len(done)), "v" * size)  # each a transaction within this one
            else:
                tx.set(str(len(done)), "v" * size)
            done.append(size)

    for size, within, most in ((1, False, 10), (1, True, 8), (4000, False, 2)):
        done.clear()
        with pytest.raises(DataError, match="writes at most"):
            db.transaction(lambda tx, size=size, within=within: write_much(tx, size, within=within))
        assert len(done) == most
    with pytest.raises(DataError, match="writes at most"):
        db.rpush("l", *range(10))
    assert db.keys() == []
    with pytest.raises(DataError, match="writes at most"):
        db.pipeline().mset({str(i): i for i in range(6)}).mset({str(i): i for i in range(6, 12)}).execute()
    assert len(db.keys()) == 6, "of a pipeline each command counts, or does not, on its own"
    assert (
        db.pipeline().mset({str(i): i for i in range(6)}).mset({str(i): i for i in range(3, 10)}).execute()
        == [True] * 2
    )


def test_a_command_that_would_read_too_much_in_its_turn_is_refused_before_it_does(
    db: BlockingFerroKV, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.hset("h", mapping={str(i): i for i in range(300)})
    db.sadd("s", *range(300))
    db.rpush("l", *range(300))
    db.zadd("z", {str(i): i for i in range(300)})
    monkeypatch.setattr("ferrokv.local.log.transaction.TURN_RECORDS_MAX", 200)
    refused: list[Callable[[], object]] = [
        lambda: db.copy("h", "h2"),
        lambda: db.sunionstore("s2", ["s"]),
        lambda: db.spop("s", 1),
        lambda: db.lrem("l", 1, "none"),
        lambda: db.linsert("l", "before", "299", "x"),
        lambda: db.zrangestore("z2", "z", 0, -1),
        lambda: db.zunionstore("z2", ["z"]),
        lambda: db.zremrangebyrank("z", 0, -1),
        lambda: db.transaction(lambda tx: [tx.hgetall("h") for _ in range(2)]),
        lambda: db.transaction(lambda tx: tx.smembers("s")),
    ]
    for call in refused:
        with pytest.raises(DataError, match="reads at most 200 records"):
            call()
    assert sorted(db.keys()) == [b"h", b"l", b"s", b"z"]
    assert len(db.hgetall("h")) == 300, "who only reads has no turn, and makes nobody wait"
    assert db.rename("h", "h2")
    assert db.delete("h2", "l", "s", "z") == 4
