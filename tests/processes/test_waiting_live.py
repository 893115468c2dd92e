"""Waiting with real threads, event loops and processes: who is woken, and what ends a waiting."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ferrokv import BlockingFerroKV, DataError, FerroKV, StoreClosed
from ferrokv.local.engine.slots import slots_in_use
from ferrokv.local.format.control import ARMED
from ferrokv.local.runtime import watch as watch_module
from ferrokv.local.runtime.watch import AsyncWaiter, BlockingWaiter
from ferrokv.local.storage import futex
from ferrokv.local.storage.local import LocalStorage
from ferrokv.local.storage.requests import Sync

from ..support.peer import Peer, leave_with

PATIENCE = 60


def waited_of(db: Any) -> Any:
    return db._store.engine.waiters


def until(condition: Callable[[], object]) -> None:
    """Return once it is so."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it does not come to be"
        time.sleep(0.001)


async def until_later(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it does not come to be"
        await asyncio.sleep(0.001)


class Caller(threading.Thread):
    """A thread that makes one call; `result` waits for the answer, or raises its error."""

    def __init__(self, call: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self._call = call
        self._answer: Any = None
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._answer = self._call()
        except BaseException as error:
            self._error = error

    def result(self) -> Any:
        self.join(PATIENCE)
        assert not self.is_alive(), "it waits for ever"
        if self._error is not None:
            raise self._error
        return self._answer


@contextmanager
def waiting(db: BlockingFerroKV, *calls: Callable[[], Any]) -> Iterator[list[Caller]]:
    """Threads that make these calls and wait, one after the other."""
    callers = []
    armed = len(waited_of(db).armed)
    for i, call in enumerate(calls):
        callers.append(Caller(call))
        until(lambda i=i: len(waited_of(db).armed) > armed + i)
    yield callers


# -- who is woken ----------------------------------------------------------------------------------------------------


async def test_one_push_wakes_one_of_a_thousand_who_wait_for_other_keys(store_path: Path) -> None:
    async with FerroKV.open(store_path) as db:
        await db.set("k", "v")  # makes the keyspace, without which nobody stands in line
        waited = waited_of(db)
        tasks = [asyncio.create_task(db.blpop(f"q{i}")) for i in range(1000)]
        await until_later(lambda: len(waited.armed) == 1000)
        await db.rpush("q500", "x")
        assert await tasks[500] == (b"q500", b"x")
        assert waited.woken == 1
        assert len(waited.armed) == 999
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert not waited.armed
        assert not any(waited._lines.values())


async def test_many_who_wait_for_one_list_are_woken_in_turn(store_path: Path) -> None:
    async with FerroKV.open(store_path) as db:
        await db.set("k", "v")
        waited = waited_of(db)
        popped: list[int] = []

        async def pop(i: int) -> None:
            await db.blpop("q")
            popped.append(i)

        tasks = []
        for i in range(200):
            tasks.append(asyncio.create_task(pop(i)))
            await until_later(lambda i=i: len(waited.armed) == i + 1)
        await db.rpush("q", "x")
        await tasks[0]
        assert popped == [0]
        assert waited.woken == 1
        await db.rpush("q", *range(199))
        await asyncio.gather(*tasks)
        assert sorted(popped) == list(range(200))
        assert 200 <= waited.woken < 1_000, "some are passed on by who left meanwhile; a herd would be twenty thousand"


async def test_a_cancelled_waiter_passes_on_what_it_was_woken_for(store_path: Path) -> None:
    async with FerroKV.open(store_path) as db:
        await db.set("k", "v")
        first, second = asyncio.create_task(db.blpop("q")), asyncio.create_task(db.blpop("q"))
        await until_later(lambda: len(waited_of(db).armed) == 2)
        with BlockingFerroKV.open(store_path) as other:
            other.rpush("q", "x")  # the event loop does not run meanwhile
        assert waited_of(db).woken == 1
        first.cancel()
        assert await asyncio.wait_for(second, PATIENCE) == (b"q", b"x")
        assert first.cancelled()


def test_what_comes_behind_the_look_and_before_the_sleep_is_not_missed(
    db: BlockingFerroKV, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = BlockingFerroKV._query

    def looking(self: BlockingFerroKV, *args: Any, **kwargs: Any) -> Any:
        found = query(self, *args, **kwargs)
        monkeypatch.setattr(BlockingFerroKV, "_query", query)
        Caller(lambda: db.rpush("q", "x")).result()
        return found

    monkeypatch.setattr(BlockingFerroKV, "_query", looking)
    assert Caller(lambda: db.blpop("q")).result() == (b"q", b"x")


async def test_what_comes_behind_the_look_of_a_task_is_not_missed(
    store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = FerroKV._query

    async def looking(self: FerroKV, *args: Any, **kwargs: Any) -> Any:
        found = await query(self, *args, **kwargs)
        monkeypatch.setattr(FerroKV, "_query", query)
        await self.rpush("q", "x")
        return found

    async with FerroKV.open(store_path) as db:
        monkeypatch.setattr(FerroKV, "_query", looking)
        assert await asyncio.wait_for(db.blpop("q"), PATIENCE) == (b"q", b"x")


@pytest.mark.parametrize("has_futex", [True, False])
def test_threads_and_tasks_are_woken_by_another_process(
    store_path: Path, has_futex: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_futex:
        monkeypatch.setattr(futex, "find_futex", lambda: None)

    async def pop_two() -> list[Any]:
        async with FerroKV.open(store_path) as later:
            return await asyncio.gather(later.blpop("tasks"), later.bzpopmin(["z", "tasks2"]))

    with BlockingFerroKV.open(store_path) as db, Peer(store_path) as peer:
        peer.call("get", "warm")
        moving = lambda: db.blmove("threads", "done", 0)  # noqa: E731
        with waiting(db, moving, lambda: db.brpoplpush("threads", "done"), lambda: asyncio.run(pop_two())) as callers:
            until(lambda: len(waited_of(db).armed) == 4)
            for name in ("threads", "tasks", "threads"):
                peer.call("rpush", name, name)
            peer.call("zadd", "tasks2", {"m": 1})
            assert [caller.result() for caller in callers[:2]] == [b"threads", b"threads"]
            assert callers[2].result() == [(b"tasks", b"tasks"), (b"tasks2", b"m", 1.0)]
        assert db.llen("done") == 2


def test_a_process_that_alone_waits_is_not_woken_by_its_own_writes(
    db: BlockingFerroKV, store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wakes: list[int] = []
    monkeypatch.setattr(LocalStorage, "wake_for_word", lambda self, words, index: wakes.append(index))
    slot = db._store.engine.slot
    db.set("k", "v")  # the first record makes the keyspace, which has everybody look anew
    with waiting(db, lambda: db.blpop("q")) as (caller,):
        until(lambda: slot[ARMED])
        for i in range(10):
            db.set("k", i)
        assert wakes == []
        with Peer(store_path) as peer:
            peer.send("blpop", "other")
            until(lambda: sum(slot[ARMED] for slot in slots_in_use(db._store.engine.words)) == 2)
            db.set("k", "v")
            assert len(wakes) == 1
            peer.kill()
        db.rpush("q", "x")
        assert caller.result() == (b"q", b"x")
    monkeypatch.undo()


def test_the_thread_ends_when_nobody_waits_and_starts_again(
    db: BlockingFerroKV, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "TICK_SECONDS", 0.01)
    watch = db._store.watch
    assert watch.thread is None
    for i in range(3):
        with waiting(db, lambda: db.blpop("q")) as (caller,):
            db.rpush("q", i)
            caller.result()
        until(lambda: watch.thread is None)


def test_a_list_that_is_no_list_for_a_while(db: BlockingFerroKV) -> None:
    with waiting(db, lambda: db.blpop("q")) as (caller,):
        db.set("q", "string")
        db.zadd("other", {"m": 1})
        db.delete("q")
        db.rpush("q", "x")
        assert caller.result() == (b"q", b"x")


def test_a_push_after_the_keyspace_was_cleared_or_made(db: BlockingFerroKV) -> None:
    fresh = db.keyspace("fresh")
    with waiting(db, lambda: db.blpop("q"), lambda: fresh.blpop("q")) as callers:
        db.rpush("other", "x")
        db.flushdb()
        until(lambda: len(waited_of(db).armed) == 2)
        db.rpush("q", "x")
        fresh.rpush("q", "y")
        assert [caller.result() for caller in callers] == [(b"q", b"x"), (b"q", b"y")]
    fresh.close()


# -- what ends a waiting ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("read_only", [False, True])
async def test_closing_ends_every_waiting(store_path: Path, read_only: bool) -> None:
    with BlockingFerroKV.open(store_path) as first:
        first.set("k", "v")
    db = await FerroKV.open(store_path, read_only=read_only)
    threads = BlockingFerroKV.open(store_path, read_only=read_only)

    def watch() -> Any:
        with threads.changes("k") as changes:
            return changes.wait()

    async def watch_later() -> Any:
        with db.changes("k") as changes:
            return await changes.wait()

    waited = waited_of(db)
    calls: list[Callable[[], Any]] = [watch]
    tasks = [asyncio.create_task(watch_later())]
    if not read_only:
        assert threads.lock("l").acquire()
        calls += [lambda: threads.blpop("q"), lambda: threads.lock("l").acquire()]
        tasks += [asyncio.create_task(db.bzpopmax("z")), asyncio.create_task(db.lock("l").acquire())]
    callers = [Caller(call) for call in calls]
    await until_later(lambda: len(waited.armed) == len(callers) + len(tasks))
    await db.close()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [StoreClosed] * len(tasks)
    assert len(waited.armed) == len(callers)
    await asyncio.to_thread(threads.close)
    for caller in callers:
        with pytest.raises(StoreClosed):
            await asyncio.to_thread(caller.result)
    assert not waited.armed


def test_closing_one_of_two_handles_ends_its_waitings_only(db: BlockingFerroKV, store_path: Path) -> None:
    other = BlockingFerroKV.open(store_path)
    with waiting(db, lambda: db.blpop("q"), lambda: other.blpop("q")) as (stays, goes):
        other.close()
        with pytest.raises(StoreClosed):
            goes.result()
        db.rpush("q", "x")
        assert stays.result() == (b"q", b"x")


def test_an_interrupt_ends_a_waiting(store_path: Path, run_python: Callable[..., Any]) -> None:
    program = """
import os, signal, sys, threading, time
from ferrokv import BlockingFerroKV
with BlockingFerroKV.open(sys.argv[1]) as db:
    waited = db._store.engine.waiters
    db.lock("l").acquire()
    waiting = []
    def handler(number, frame):
        if waiting:
            waiting.clear()
            raise KeyboardInterrupt
    def interrupt():
        while not waited.armed:
            time.sleep(0.001)
        # Again if need be: Python loses a signal that comes between its last look for one and the system call that waits.
        while waiting:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.05)
    signal.signal(signal.SIGINT, handler)
    for wait in (lambda: db.blpop("q"), lambda: db.lock("l").acquire()):
        thread = threading.Thread(target=interrupt)
        waiting.append(wait)
        thread.start()
        try:
            wait()
        except KeyboardInterrupt:
            print("interrupted", len(waited.armed))
        thread.join()
    db.rpush("q", "x")
    print(db.lpop("q"))
"""
    done = run_python(program, str(store_path))
    assert done.stdout.splitlines() == ["interrupted 0", "interrupted 0", "b'x'"], done.stderr


def test_an_event_loop_that_is_closed_while_somebody_waits_leaves_nothing(
    db: BlockingFerroKV, store_path: Path
) -> None:
    waited = waited_of(db)

    def abandon(name: str) -> weakref.ref[Any]:
        loop = asyncio.new_event_loop()
        handle = loop.run_until_complete(opened(store_path))
        task = loop.create_task(handle.blpop(name))
        loop.run_until_complete(until_later(lambda: len(waited.armed) == 1))
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
        kept.append(handle)
        return weakref.ref(task)

    async def opened(path: Path) -> FerroKV:
        return await FerroKV.open(path)

    kept: list[FerroKV] = []
    gone = abandon("q")
    with waiting(db, lambda: db.blpop("q")) as (caller,):
        db.rpush("q", "x")
        assert caller.result() == (b"q", b"x")
    assert not waited.armed
    gc.collect()
    assert gone() is None
    gone = abandon("tick")
    db._store.watch._tick()
    assert not waited.armed
    gc.collect()
    assert gone() is None
    for handle in kept:
        asyncio.run(handle.close())


def test_a_fork_while_somebody_waits(db: BlockingFerroKV) -> None:
    def in_child() -> int:
        with db.keyspace("child") as own:
            caller = Caller(lambda: own.blpop("q"))
            until(lambda: waited_of(own).armed)
            own.rpush("q", "c")
            assert caller.result() == (b"q", b"c")
        db.rpush("parent", "x")
        db.close()
        return 0

    with waiting(db, lambda: db.blpop("parent")) as (caller,):
        pid = os.fork()
        if not pid:
            leave_with(in_child)
        assert caller.result() == (b"parent", b"x")
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


# -- locks -----------------------------------------------------------------------------------------------------------


def test_a_lock_goes_to_those_who_wait_in_turn(db: BlockingFerroKV) -> None:
    order: list[int] = []

    def take(i: int) -> None:
        with db.lock("l", sleep=1e9):  # nobody sleeps: `sleep` is for the sake of redis-py
            order.append(i)

    lock = db.lock("l")
    lock.acquire()
    with waiting(db, *(lambda i=i: take(i) for i in range(20))) as callers:
        assert db.lock("l").acquire(blocking=False) is False
        assert db.lock("l").acquire(blocking_timeout=0) is False
        lock.release()
        for caller in callers:
            caller.result()
    assert order == list(range(20))
    assert not any(waited_of(db)._lines.values())


def test_a_lock_that_expires_goes_to_the_first_in_line(db: BlockingFerroKV) -> None:
    lock = db.lock("l", timeout=0.05)
    lock.acquire()
    assert Caller(lambda: db.lock("l").acquire(sleep=1e9)).result() is True
    lock = db.lock("short", timeout=3600)
    lock.acquire()
    with waiting(db, lambda: db.lock("short").acquire(), lambda: db.lock("short", timeout=0.01).acquire()) as callers:
        lock.extend(0.01, replace_ttl=True)  # sooner than whoever waits had read
        assert callers[0].result() is True
        db.delete("short")
        assert callers[1].result() is True


def test_the_death_of_a_holder_is_noticed(store_path: Path) -> None:
    with BlockingFerroKV.open(store_path) as db, Peer(store_path) as peer:
        peer.call("take_lock", "l")
        with waiting(db, lambda: db.lock("l").acquire(), lambda: db.lock("l").acquire()) as (first, second):
            peer.kill()
            assert first.result() is True
            assert second.is_alive()
            db.delete("l")
            assert second.result() is True


def test_a_release_without_a_sync_wakes_too_and_costs_one_only_if_somebody_waits(
    db: BlockingFerroKV, syncs: list[Sync]
) -> None:
    deferred = db.within(db.deferral())
    lock = deferred.lock("l", thread_local=False)
    for _ in range(3):
        assert lock.acquire()
        lock.release()
    assert syncs == []
    assert lock.acquire()
    with waiting(db, lambda: deferred.lock("l").acquire()) as (caller,):
        before = len(syncs)
        lock.release()
        assert len(syncs) > before
        assert caller.result() is True


def test_an_undurable_release_of_another_process_wakes(store_path: Path) -> None:
    with BlockingFerroKV.open(store_path) as db, Peer(store_path) as peer:
        peer.call("take_deferred_lock", "l")
        with waiting(db, lambda: db.lock("l").acquire()) as (caller,):
            peer.call("release_deferred_lock")
            assert caller.result() is True


# -- changes ---------------------------------------------------------------------------------------------------------


def test_changes_are_told_once(db: BlockingFerroKV) -> None:
    with db.changes("a", "b") as changes:
        assert changes.wait(0.01) is False
        db.set("a", 1)
        assert changes.wait() is True
        assert changes.wait(0.01) is False
        db.delete("a")
        db.rpush("b", 1)
        assert changes.wait() is True
        db.set("c", 1)
        assert changes.wait(0.01) is False
        db.flushdb()
        assert changes.wait() is True
    assert not waited_of(db).armed
    with pytest.raises(Exception, match="wrong number of arguments"):
        db.changes()


async def test_changes_in_two_keyspaces_and_of_another_process(store_path: Path) -> None:
    async with FerroKV.open(store_path) as db, db.keyspace("other") as other:
        with db.changes("k", also_in=other) as changes:
            await other.set("k", 1)
            assert await changes.wait() is True
            await db.set("k", 1)
            assert await changes.wait() is True
            with Peer(store_path) as peer:
                await asyncio.to_thread(peer.call, "set", "k", 2)
                assert await changes.wait() is True
                assert await db.get("k") == b"2"
        async with FerroKV.open(str(store_path) + "2") as far:
            with pytest.raises(DataError, match="two stores"):
                db.changes("k", also_in=far)


def test_who_may_only_read_sees_changes_too(store_path: Path) -> None:
    with Peer(store_path) as peer:
        peer.call("set", "k", "1")
        with BlockingFerroKV.open(store_path, read_only=True) as db, db.changes("k") as changes:
            peer.call("set", "k", "2")
            assert changes.wait() is True
            assert db.get("k") == b"2"


def test_waiters_are_of_the_face_that_they_serve(db: BlockingFerroKV) -> None:
    assert isinstance(db._waiting("elements", [b"k"]), BlockingWaiter)
    with pytest.raises(RuntimeError, match="no running event loop"):
        AsyncWaiter(db._store.watch, "elements", [], None)
