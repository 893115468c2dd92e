"""Deferrals: answers at once, one sync at the end, and nobody else sees anything before."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from ferrokv import (
    BlockingFerroKV,
    DataError,
    FerroKV,
    ResponseError,
    StoreClosed,
    StoreFailed,
    StoreFull,
    StoreUncertain,
    Tx,
    WriteBatch,
)
from ferrokv.local.format.control import APPENDED, COMMIT
from ferrokv.local.storage.local import LocalStorage
from ferrokv.local.storage.requests import Sync, WriteAt


def test_ten_writes_and_their_answers_cost_one_sync(db: BlockingFerroKV, syncs: list[Sync]) -> None:
    db.set("n", 5)
    syncs.clear()
    with db.deferral() as deferral:
        mine = db.within(deferral)
        for i in range(5):
            mine.write(WriteBatch().set(f"k{i}", i))
        assert mine.incr("n") == 6
        assert mine.set("k0", "other", nx=True) is None
        assert mine.rpush("list", "a", "b") == 2
        assert mine.transaction(lambda tx: tx.incr("n")) == 7
        assert syncs == []
        assert db.get("k1") is None, "others see what is durable only"
        assert db.get("n") == b"5"
    assert len(syncs) == 1
    assert db.mget("k0", "k1", "k4", "n") == [b"0", b"1", b"4", b"7"]
    assert db.lrange("list", 0, -1) == [b"a", b"b"]


@pytest.mark.usefixtures("standing_clock")
def test_a_deferral_reads_its_own_writes(db: BlockingFerroKV) -> None:
    db.mset({"a": "old", "b": "old", "c": "old"})
    with db.deferral() as deferral:
        mine = db.within(deferral)
        mine.write(WriteBatch().set("a", "new").delete("b").set("t", 1, px=100_000))
        assert (mine.get("a"), mine.get("b"), mine.get("c")) == (b"new", None, b"old")
        assert mine.mget("a", "b", "c") == [b"new", None, b"old"]
        assert mine.exists("a", "b", "c") == 2
        assert mine.pttl("t") == 100_000
        assert sorted(mine.keys("*")) == [b"a", b"c", b"t"]
        assert mine.append("a", "er") == 5
        assert mine.get("a") == b"newer"
        db.set("a", "theirs")
        assert mine.get("a") == b"theirs", "what somebody else wrote later counts"
        mine.hset("h", "f", 1)
        with pytest.raises(ResponseError, match="WRONGTYPE"):
            mine.get("h")
        mine.flushdb()
        assert mine.get("c") is None
        assert mine.keys("*") == []
        assert db.get("c") == b"old"
        mine.write(WriteBatch().set("c", "again"))
    assert db.keys("*") == [b"c"]


def test_a_deferral_sees_what_became_durable_between_its_own_writes(db: BlockingFerroKV) -> None:
    """As when another process began its sync between two of them: COMMIT has passed the first, and not reached the second."""
    words = db._store.engine.words
    with db.deferral() as deferral, db.deferral() as others:
        mine, theirs = db.within(deferral), db.within(others)
        mine.setnx("k", "mine")
        theirs.append("k", " and theirs")
        assert mine.get("k") == b"mine", "theirs is not durable, so nobody has been told of it"
        appended = words[APPENDED]
        mine.incr("j")
        assert mine.get("k") == b"mine and theirs", "the command before may have told of it"
        db._store.storage.perform(Sync(db._store.engine.wal.file))
        words[COMMIT] = appended
        assert mine.get("k") == b"mine and theirs"
        assert mine.get("j") == b"1"
    assert db.mget("k", "j") == [b"mine and theirs", b"1"]


def test_a_batch_with_an_impossible_expiry_is_refused_whole(db: BlockingFerroKV) -> None:
    with db.deferral() as deferral:
        mine = db.within(deferral)
        with pytest.raises(ResponseError, match="invalid expire"):
            mine.write(WriteBatch().set("a", 1).set("b", 1, px=(1 << 63) - 1))
        assert mine.mget("a", "b") == [None, None]
    assert db.keys("*") == []


def test_gathered_writes_expire_when_they_were_told_to(db: BlockingFerroKV) -> None:
    with db.deferral() as deferral:
        mine = db.within(deferral)
        mine.write(WriteBatch().set("k", 1, px=1))
        while mine.get("k") is not None:
            pass
        assert mine.exists("k") == 0
    assert db.get("k") is None


def test_keyspaces_share_a_deferral_and_other_stores_do_not(
    db: BlockingFerroKV, syncs: list[Sync], tmp_path: Path
) -> None:
    with db.keyspace("other") as other, BlockingFerroKV.open(tmp_path / "second") as second:
        syncs.clear()
        with db.deferral() as deferral:
            db.within(deferral).write(WriteBatch().set("k", 1))
            other.within(deferral).write(WriteBatch().set("k", 2))
            assert other.within(deferral).get("k") == b"2"
            assert db.within(deferral).incr("k") == 2
            with pytest.raises(DataError):
                second.within(deferral)
        assert len(syncs) == 1
        assert (db.get("k"), other.get("k")) == (b"2", b"2")


def test_much_is_appended_on_the_way_and_synced_now_and_then(db: BlockingFerroKV, syncs: list[Sync]) -> None:
    with db.deferral() as deferral:
        mine = db.within(deferral)
        for i in range(40):
            mine.write(WriteBatch().set(f"k{i}", bytes(100_000)))
        assert len(deferral._driver._ledger.fresh) < 40
        assert 1 <= len(syncs) <= 6
        assert mine.get("k0") == bytes(100_000)
    assert len(db.keys("*")) == 40


def test_a_read_is_not_older_than_an_answer(db: BlockingFerroKV) -> None:
    """Two deferrals change one counter before either is durable, as two requests of a web server do."""
    with db.deferral() as first, db.deferral() as second:
        mine = db.within(first)
        assert mine.incr("n") == 1
        assert db.within(second).incr("n") == 2
        assert mine.transaction(lambda tx: tx.get("n")) == b"2"
        assert mine.get("n") == b"2"
        assert mine.mget(["n"]) == [b"2"]


def test_an_answer_that_raises_leaves_the_other_writes(db: BlockingFerroKV) -> None:
    with db.deferral() as deferral:
        mine = db.within(deferral)
        mine.write(WriteBatch().set("word", "x"))
        with pytest.raises(ResponseError, match="not an integer"):
            mine.incr("word")

        def fails(tx: Tx) -> None:
            tx.set("no", 1)
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            mine.transaction(fails)
        mine.write(WriteBatch().set("more", 1))
    assert sorted(db.keys("*")) == [b"more", b"word"]


def test_a_block_that_raises_is_settled_all_the_same(db: BlockingFerroKV) -> None:
    def work() -> None:
        with db.deferral() as deferral:
            db.within(deferral).write(WriteBatch().set("k", 1))
            raise KeyError

    with pytest.raises(KeyError):
        work()
    assert db.get("k") == b"1"


def test_a_sync_that_fails_is_told_at_the_end(db: BlockingFerroKV, monkeypatch: pytest.MonkeyPatch) -> None:
    db.set("k", 1)
    perform = LocalStorage.perform

    def failing(self: LocalStorage, request: Any) -> Any:
        if isinstance(request, Sync):
            raise OSError(5, "Input/output error")
        return perform(self, request)

    deferral = db.deferral()
    mine = db.within(deferral)
    assert mine.incr("k") == 2
    mine.write(WriteBatch().set("gathered", 1))
    with monkeypatch.context() as patched:
        patched.setattr(LocalStorage, "perform", failing)
        with pytest.raises(StoreFailed):
            deferral.settle()
    assert db.get("k") == b"1"
    assert db.get("gathered") is None
    with pytest.raises(StoreFailed):
        deferral.settle()


async def test_what_is_written_while_a_settling_is_under_way_is_minded_by_the_next(
    store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    perform = LocalStorage.perform

    def failing(self: LocalStorage, request: Any) -> Any:
        if isinstance(request, WriteAt):
            raise OSError(28, "No space left on device")
        return perform(self, request)

    async with await FerroKV.open(store_path) as db:
        deferral = db.deferral()
        mine = db.within(deferral)
        await mine.write(WriteBatch().set("a", 1))
        settling = deferral.begin_settling()
        await mine.write(WriteBatch().set("b", 1))
        await settling
        with monkeypatch.context() as patched:
            patched.setattr(LocalStorage, "perform", failing)
            with pytest.raises(StoreFull):
                await deferral.asettle()
        assert await db.mget("a", "b") == [b"1", None]
        await mine.write(WriteBatch().set("c", 1))
        await deferral.asettle()
        assert await db.get("c") == b"1", "what was told once is not told again"


def test_writes_without_a_deferral_carry_unsettled_ones_along(db: BlockingFerroKV, syncs: list[Sync]) -> None:
    deferral = db.deferral()
    assert db.within(deferral).incr("n") == 1
    assert db.incr("n") == 2, "a transaction sees what is appended"
    assert db.get("n") == b"2"
    count = len(syncs)
    deferral.settle()
    assert len(syncs) == count, "there was nothing left to wait for"


async def test_the_asynchronous_face(store_path: Path, syncs: list[Sync]) -> None:
    async with await FerroKV.open(store_path) as db:
        await db.set("n", 5)
        syncs.clear()
        async with db.deferral() as deferral:
            mine = db.within(deferral)
            await mine.write(WriteBatch().set("a", 1))
            assert await mine.get("a") == b"1"
            assert await mine.incr("n") == 6
            assert await mine.get("n") == b"6"
            assert await mine.mget("a", "n", "none") == [b"1", b"6", None]
            assert await mine.transaction(lambda tx: tx.incr("n")) == 7
            assert await db.get("n") == b"5"
            assert syncs == []
            with pytest.raises(ResponseError):
                await mine.lpush("n", 1)
        assert len(syncs) == 1
        assert await db.mget("a", "n") == [b"1", b"7"]


async def test_tasks_and_threads_share_a_deferral(store_path: Path) -> None:
    with BlockingFerroKV.open(store_path) as blocking:
        async with await FerroKV.open(store_path) as db, db.deferral() as deferral:
            native, threaded = db.within(deferral), blocking.within(deferral)
            wrong: list[str] = []

            def work(name: str) -> None:
                chance = random.Random(name)
                for i in range(150):
                    threaded.write(WriteBatch().set(name, i))
                    if threaded.get(name) != b"%d" % i:
                        wrong.append(name)
                    if chance.random() < 0.3:
                        threaded.incr("n")

            async def play(name: str) -> None:
                chance = random.Random(name)
                for i in range(150):
                    await native.write(WriteBatch().set(name, i))
                    if await native.get(name) != b"%d" % i:
                        wrong.append(name)
                    if chance.random() < 0.3:
                        await native.incr("n")

            threads = [threading.Thread(target=work, args=(f"thread{i}",)) for i in range(3)]
            for thread in threads:
                thread.start()
            await asyncio.gather(*(play(f"task{i}") for i in range(3)))
            for thread in threads:
                await asyncio.to_thread(thread.join)
            assert wrong == []
        expected = sum(
            sum(chance.random() < 0.3 for _ in range(150))
            for chance in (random.Random(f"{kind}{i}") for kind in ("thread", "task") for i in range(3))
        )
        assert blocking.get("n") == b"%d" % expected


async def test_a_cancelled_caller_leaves_its_write_to_the_settling(store_path: Path) -> None:
    async with await FerroKV.open(store_path) as db, db.deferral() as deferral:
        mine = db.within(deferral)
        task = asyncio.create_task(mine.incr("n"))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await deferral.asettle()
        assert await db.get("n") == b"1"
        assert deferral._driver._ledger.open_requests == ()


def test_a_forked_child_has_nothing_to_settle(db: BlockingFerroKV) -> None:
    deferral = db.deferral()
    mine = db.within(deferral)
    mine.write(WriteBatch().set("k", 1))
    pid = os.fork()
    if pid == 0:  # pragma: no cover - in the child
        code = 1
        try:
            deferral.settle()
            with pytest.raises(StoreClosed):
                mine.incr("k")
            code = 0 if db.get("k") is None and deferral.is_inherited else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    deferral.settle()
    assert db.get("k") == b"1"


KILLED = """
import os, sys
from ferrokv import BlockingFerroKV, WriteBatch
db = BlockingFerroKV.open(sys.argv[1])
deferral = db.deferral()
mine = db.within(deferral)
mine.write(WriteBatch().set("settled", 1))
mine.incr("n")
deferral.settle()
mine.write(WriteBatch().set("gathered", 1))
mine.incr("n")
mine.incr("n")
print("ready", flush=True)
os.kill(os.getpid(), 9)
"""


def test_a_process_that_dies_before_settling_leaves_a_store_that_goes_on(
    db: BlockingFerroKV, store_path: Path, run_python: Any
) -> None:
    done = run_python(KILLED, str(store_path))
    assert done.stdout == "ready\n"
    assert db.get("settled") == b"1"
    assert db.get("n") == b"1", "what is appended and not synced is seen by nobody who reads"
    assert db.incr("n") == 4, "but it stands: the next commit is chained to it"
    assert db.get("gathered") == b"1"


class SignalError(Exception):
    """What a signal handler raises."""


@pytest.fixture
def interrupts() -> Iterator[Callable[[float], None]]:
    """Raise `SignalError` in so many seconds; 0 for not at all."""

    def handle(*args: object) -> None:
        raise SignalError

    before = signal.signal(signal.SIGALRM, handle)
    yield lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds)  # type: ignore[return-value]
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a signal within a destructor
def test_what_a_signal_handler_interrupts_is_never_lost_in_silence(
    db: BlockingFerroKV, interrupts: Callable[[float], None]
) -> None:
    """Either settling says that a gathered write may be missing, or it is there; and the deferral goes on in any case."""
    chance = random.Random(1)
    interrupted = 0
    for i in count():
        if i >= 1_500 and interrupted > 20:  # how many it takes depends on the machine
            break
        deferral = db.deferral()
        mine = db.within(deferral)
        mine.write(WriteBatch().set(f"k{i}", i))
        try:
            interrupts(chance.uniform(0.00002, 0.00015))
            mine.incr("n")
            interrupts(0)
            continue
        except SignalError:
            interrupted += 1
        finally:
            interrupts(0)
        try:
            deferral.settle()
        except StoreUncertain:
            told = True
        else:
            told = False
        assert told or db.get(f"k{i}") == b"%d" % i
        mine.incr("m")
        thread = threading.Thread(target=mine.incr, args=("m",))
        thread.start()
        thread.join(10)
        assert not thread.is_alive()
        deferral.settle()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("deferred", [False, True])
def test_a_lock_whose_release_was_interrupted_is_free(
    db: BlockingFerroKV, interrupts: Callable[[float], None], deferred: bool
) -> None:
    chance = random.Random(2)
    interrupted = held = 0
    for i in count():
        if i >= 400 and interrupted > 10:
            break
        lock = (db.within(db.deferral()) if deferred else db).lock(f"k{i}", thread_local=False)
        assert lock.acquire()
        try:
            interrupts(chance.uniform(0.00002, 0.0003))
            lock.release()
            interrupts(0)
        except SignalError:
            interrupted += 1
        finally:
            interrupts(0)
        if lock._local.token is None:  # the release had begun
            deadline = time.monotonic() + 10  # the one who frees it is another thread
            db.set("behind", 1)  # a deferral's release is appended; this syncs it
            while db.exists(f"k{i}") and time.monotonic() < deadline:
                db.set("behind", 1)
            held += bool(db.exists(f"k{i}"))
            if held:
                break
            if lock.token is not None:
                lock.release()  # also harmless now
    assert held == 0, "only a signal before the first step of the release leaves it, and then to its holder"
