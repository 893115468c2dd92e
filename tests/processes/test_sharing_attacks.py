"""Attacks on the sharing of a store that once succeeded: each is here because a review proved it against the code of its day."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from ferrokv import BlockingFerroKV, FerroKV, StoreBusy, StoreClosed, StorePathError
from ferrokv.local.commands import counters
from ferrokv.local.faces import reader
from ferrokv.local.format import control
from ferrokv.local.log.commit import append, make_durable
from ferrokv.local.log.replica import catch_up, read_appended, rebuild
from ferrokv.local.log.transaction import Group
from ferrokv.local.runtime.store import Store
from ferrokv.local.storage import lock_files
from ferrokv.local.storage.drivers import complete
from ferrokv.local.storage.lock_files import Presence
from ferrokv.local.storage.requests import Lock, ReadAt, Request, Sync, SyncDirectory
from ferrokv.testing.simulated import SimulatedStorage

from ..support.harness import EngineHarness, ManualClock
from ..support.peer import Peer
from ..support.simulation import SimulatedProcess, World, finish, maintain
from .test_interleavings import calls, judge, judge_power_cut, old_data, opened

FORKS = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # 3.12 warns of forking a process that has threads


@contextmanager
def in_a_thread(work: Callable[[], Any]) -> Iterator[None]:
    """`work` again and again in another thread, which must not fail."""
    stop = threading.Event()
    failures: list[BaseException] = []

    def run() -> None:
        try:
            while not stop.is_set():
                work()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    assert failures == []


def in_a_child(work: Callable[[], bool]) -> int:
    """The exit code of a forked child: 0 if `work` says True; -14 if it hangs."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        code = 2
        with suppress(BaseException):
            code = 0 if work() else 1
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize("wanted", [("rotate",), ("incr", b"k", 1)])
def test_what_recovery_takes_over_is_durable_before_it_builds_on_it(wanted: tuple) -> None:
    """The writer dies between any two steps of a rotation or a commit, a newcomer recovers alone, and then the power goes."""
    step = died = 0
    while died == step:
        step += 1
        for seed in range(6):
            world = World(seed)
            old_data(world)
            victim = opened(world, calls(wanted))
            victim.store = victim.store or victim.open()

            def choose(ready: list[SimulatedProcess]) -> SimulatedProcess | None:
                if victim.steps == step:  # noqa: B023 - called within this round
                    victim.kill()  # noqa: B023
                    return None
                return victim  # noqa: B023

            world.run(choose)
            newcomer = SimulatedProcess(world, 60, lambda _: None)
            newcomer.open()
            judge_power_cut(world, seed)
            newcomer.kill()
            finish(world)
        died += not victim.storage.alive
    assert step > 3


def test_what_a_failed_sync_left_in_the_page_cache_is_written_again() -> None:
    """The sync of a new WAL's header fails, which marks its pages clean; then everybody dies, and a newcomer finds the header."""
    failed = 0
    for place in range(8):
        for seed in range(6):
            world = World(seed)
            old_data(world)
            unlucky = opened(world, calls(("rotate",)))
            syncs = iter(range(100))

            def fail(index: int, request: Request) -> None:
                if isinstance(request, Sync | SyncDirectory) and next(syncs) == place:  # noqa: B023
                    raise OSError(errno.EIO, "injected")

            unlucky.storage.observe = fail
            world.run(lambda ready: ready[0])
            failed += bool(world.disk.machine.pages["control"][control.POISON])
            unlucky.kill()
            newcomer = SimulatedProcess(world, 60, lambda _: None)
            newcomer.open()
            judge_power_cut(world, seed)
            newcomer.kill()
            finish(world)
    assert failed >= 12


def pair() -> tuple[EngineHarness, EngineHarness]:
    """Two processes on one store."""
    disk = SimulatedStorage(1)
    clock = ManualClock()
    first = EngineHarness(SimulatedStorage(1, shares=disk), clock)
    return first, EngineHarness(SimulatedStorage(2, shares=disk), clock)


def append_only(store: EngineHarness, key: bytes) -> None:
    """An `incr` that is in the WAL, but that nobody has synced."""
    with store.writing():
        group = Group(store.engine)
        group.run(counters.increment, store.keyspace, (key, 1, False))
        append(store.engine, group.changes, group.changes.catalogue)


def sync(store: EngineHarness) -> None:
    make_durable(store.engine, store.engine.wal, store.engine.appended)


def test_a_commit_that_a_reader_followed_meanwhile_is_not_shown_a_second_time() -> None:
    first, second = pair()
    first.incr(b"n")
    append_only(first, b"n")
    assert second.get(b"n") == b"1"
    assert complete_lock(second)
    reading = read_appended(second.engine)
    request = next(reading)
    assert isinstance(request, ReadAt)
    data = second.storage.perform(request)
    sync(first)
    assert second.get(b"n") == b"2"  # another thread of the same process
    with suppress(StopIteration):
        reading.send(data)
    assert second.engine.pending == []
    second.engine.unlock_write()
    assert [second.incr(b"n"), first.incr(b"n")] == [3, 4]
    second.check()


def test_two_commits_that_nobody_synced_may_be_lost_in_any_part() -> None:
    """The second frame must not prove that the first was durable: a power cut may keep the second and lose the first."""
    for seed in range(40):
        first, second = pair()
        first.incr(b"n")
        append_only(first, b"n")
        append_only(second, b"n")
        after = EngineHarness(second.storage.after_power_cut(seed), ManualClock())
        assert after.get(b"n") in (b"1", b"2", b"3")
        after.incr(b"n")
        after.check()


def complete_lock(store: EngineHarness) -> bool:
    taken: bool = store.storage.perform(Lock("write", 0))
    return taken


def test_a_commit_that_was_loaded_anew_is_not_shown_a_second_time() -> None:
    first, second = pair()
    first.incr(b"n")
    append_only(first, b"n")
    with second.writing():
        assert len(second.engine.pending) == 1
    sync(first)
    complete(rebuild(second.engine), second.storage)
    assert second.engine.pending == []
    assert [second.incr(b"n"), first.incr(b"n")] == [3, 4]
    complete(catch_up(second.engine), second.storage)
    second.check()


def _open_files() -> list[str]:
    found = []
    for name in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the listing's own descriptor
            found.append(os.readlink(f"/proc/self/fd/{name}"))
    return found


@FORKS
def test_a_fork_in_the_middle_of_an_opening_leaves_the_child_no_locks(store_path: Path) -> None:
    """A copy of a descriptor would keep the parent's lock for as long as the child lives."""

    def open_and_close() -> None:
        with BlockingFerroKV.open(store_path) as db:
            db.set("k", 1)

    def nothing_is_left() -> bool:
        return not [name for name in _open_files() if name.startswith(str(store_path)) and ".lock" in name]

    open_and_close()
    with in_a_thread(open_and_close):
        assert [in_a_child(nothing_is_left) for _ in range(150)] == [0] * 150


@FORKS
def test_a_fork_between_the_last_descriptors_of_a_closing_leaves_the_child_no_locks(
    store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = threading.Event()
    close_fd = lock_files.close_fd

    def close_slowly(fd: int) -> None:
        inside.set()
        time.sleep(0.02)
        close_fd(fd)

    def nothing_is_left() -> bool:
        return not [name for name in _open_files() if name.startswith(str(store_path)) and ".lock" in name]

    db = BlockingFerroKV.open(store_path)
    db.set("k", 1)
    monkeypatch.setattr(lock_files, "close_fd", close_slowly)
    closing = threading.Thread(target=db.close)
    closing.start()
    assert inside.wait(20)
    codes = [in_a_child(nothing_is_left) for _ in range(5)]
    closing.join()
    assert codes == [0] * 5


@FORKS
def test_a_fork_in_the_middle_of_a_closing_leaves_the_child_able_to_close(
    store_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, go_on = threading.Event(), threading.Event()
    shut_down = Store.shut_down

    def wait_and_shut_down(store: Store) -> None:
        if threading.current_thread() is not threading.main_thread():
            inside.set()
            go_on.wait(20)
        shut_down(store)

    monkeypatch.setattr(Store, "shut_down", wait_and_shut_down)
    db = BlockingFerroKV.open(store_path)
    other = BlockingFerroKV.open(tmp_path / "other")

    def close_holding_everything() -> None:
        with reader._exchanging:
            db.close()

    closing = threading.Thread(target=close_holding_everything)
    closing.start()
    assert inside.wait(20)

    def use_and_close() -> bool:
        other.set("k", 1)
        other.close()
        with BlockingFerroKV.open(tmp_path / "third") as third:
            third.set("k", 1)
        return True

    code = in_a_child(use_and_close)
    go_on.set()
    closing.join()
    assert code == 0
    assert other.get("k") == b"1"
    other.close()


async def test_queued_writes_share_one_time_limit(store_path: Path) -> None:
    """They wait side by side, not one behind the other."""
    async with FerroKV.open(store_path, busy_timeout=0.5) as db:
        await db.set("k", 1)
        storage = db._store.storage
        other = type(storage)(storage.directory)
        assert other._locks.take(Lock("write", 1))
        began = time.monotonic()
        answers = await asyncio.gather(*(db.set(f"k{i}", 1) for i in range(30)), return_exceptions=True)
        took = time.monotonic() - began
        other.close()
        assert {type(answer) for answer in answers} == {StoreBusy}
        assert took < 10  # thirty limits in a row would be fifteen seconds
        await db.set("k", 2)


def test_a_writer_survives_a_failing_read_of_what_others_wrote(
    store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with BlockingFerroKV.open(store_path, busy_timeout=5) as db, Peer(store_path) as peer:
        db.set("k", 1)

        def fail(request: ReadAt) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

        for _ in range(3):
            peer.call("incr", "k")
            with monkeypatch.context() as patch:
                patch.setitem(db._store.storage._actions, ReadAt, fail)
                with pytest.raises(StorePathError, match="following other processes"):
                    asyncio.run(_incr(store_path))
                with pytest.raises(StorePathError, match="following other processes"):
                    db.incr("k")
            assert asyncio.run(_incr(store_path)) == peer.call("incr", "k") - 1
        assert db._store._writer.thread.is_alive()


async def _incr(path: Path) -> int:
    async with FerroKV.open(path) as db:
        return await db.incr("k")


def test_an_announcement_is_made_although_others_look_at_it(tmp_path: Path) -> None:
    """Looking takes a shared lock for a moment, and the announcement's own lock has to wait for that."""
    directory = os.open(tmp_path, os.O_RDONLY)
    looking = []

    def open_and_look(name: str, flags: int) -> int:
        fd = os.open(name, flags, 0o600, dir_fd=directory)
        onlooker = os.open(name, os.O_RDONLY, dir_fd=directory)
        fcntl.flock(onlooker, fcntl.LOCK_SH)
        looking.append(threading.Timer(0.1, os.close, (onlooker,)))
        looking[-1].start()
        return fd

    announced = Presence(lambda: directory, open_and_look)
    announced.announce()
    looking[0].join()
    others = Presence(lambda: directory, lambda name, flags: os.open(name, flags, dir_fd=directory))
    assert [process.pid for process in others.others(sweep=True)] == [os.getpid()]
    announced.withdraw()
    assert os.listdir(tmp_path) == []
    os.close(directory)


def recover_and_write(process: SimulatedProcess) -> None:
    process.open()
    process.call("incr", b"k", 1)
    maintain(process, "rotate")
    maintain(process, "flush")
    maintain(process, "compact")


def test_a_reader_opens_beside_somebody_who_recovers() -> None:
    """The other one comes at each step of the reader's opening, and the reader at each step of the other's."""
    for first in (0, 1):
        step = 0
        while True:
            step += 1
            world = World(step)
            old_data(world)
            world.disk.machine.pages.clear()  # as after a restart: nobody says how far the WAL was acknowledged
            reader = world.spawn(calls(("get", b"old:1"), ("get", b"k"), ("get", b"old:2")))
            reader.storage.read_only = True
            runs = (reader, world.spawn(recover_and_write))

            def choose(ready: list[SimulatedProcess]) -> SimulatedProcess:
                ahead, behind = runs[first], runs[1 - first]  # noqa: B023 - called within this round
                if ahead.steps < step or behind not in ready:  # noqa: B023
                    return ahead if ahead in ready else behind
                return behind

            world.run(choose)
            assert reader.store is not None
            assert reader.store.get(b"k") == b"1"
            judge(world)
            if runs[first].steps <= step:
                break
        assert step > 10


def test_numbers_are_asked_for_while_the_store_closes(store_path: Path) -> None:
    for _ in range(40):
        db = BlockingFerroKV.open(store_path)
        asked = threading.Event()

        def ask(db: BlockingFerroKV = db, asked: threading.Event = asked) -> None:
            with suppress(StoreClosed):
                while True:
                    assert db.stats().path
                    asked.set()

        with in_a_thread_once(ask):
            assert asked.wait(20)
            db.close()


@contextmanager
def in_a_thread_once(work: Callable[[], Any]) -> Iterator[None]:
    """`work` once in another thread, which must end and not fail."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    yield
    thread.join(20)
    assert not thread.is_alive()
    assert failures == []
