"""Threads, event loops, cancellation, signals and forks around one store."""

from __future__ import annotations

import asyncio
import errno
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from ferrokv import BlockingFerroKV, DataError, FerroKV, StoreBusy, StoreClosed, StoreFailed, StoreFull, WriteBatch
from ferrokv.local.storage.requests import ReadAt, Sync, WriteAt


async def test_await_and_async_with_both_open(store_path: Path) -> None:
    db = await FerroKV.open(store_path)
    async with FerroKV.open(store_path) as same:
        await db.set("k", 1)
        assert await same.get("k") == b"1"
    with pytest.raises(StoreClosed):
        await same.get("k")
    assert await db.get("k") == b"1"
    await db.close()
    await db.close()
    with pytest.raises(StoreClosed):
        await db.set("k", 2)


def test_handles_share_one_engine_and_refuse_other_options(store_path: Path) -> None:
    with BlockingFerroKV.open(store_path, memtable_bytes=1 << 20) as db:
        with (
            BlockingFerroKV.open(store_path) as same,
            BlockingFerroKV.open(store_path, memtable_bytes=1 << 20) as third,
        ):
            same.set("k", 1)
            assert third.get("k") == b"1"
        with pytest.raises(DataError, match="other options"):
            BlockingFerroKV.open(store_path, memtable_bytes=2 << 20)
        assert db.get("k") == b"1"


async def test_concurrent_writers_share_syncs(store_path: Path) -> None:
    async with FerroKV.open(store_path) as db:
        await asyncio.gather(*(db.incr("n") for _ in range(500)))
        assert await db.get("n") == b"500"
        assert db.stats().commits < 100


async def test_cancelling_stops_the_waiting_and_not_the_write(store_path: Path) -> None:
    async with FerroKV.open(store_path) as db:
        for _ in range(50):
            task = asyncio.create_task(db.incr("n"))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert await db.incr("n") == 51


async def test_cancelling_an_opening_leaves_nothing_open(store_path: Path) -> None:
    async def attempt() -> FerroKV:
        return await FerroKV.open(store_path)

    task = asyncio.create_task(attempt())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with FerroKV.open(store_path) as db:
        await db.set("k", 1)


def test_loops_in_several_threads_share_one_store(store_path: Path) -> None:
    with BlockingFerroKV.open(store_path) as db:

        async def count() -> None:
            async with FerroKV.open(store_path) as own:
                await asyncio.gather(*(own.incr("n") for _ in range(50)))

        threads = [threading.Thread(target=lambda: asyncio.run(count())) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert db.get("n") == b"200"


async def test_the_loop_is_not_blocked_by_syncs(store_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with FerroKV.open(store_path) as db:
        storage = db._store.storage
        syncing = threading.Event()
        release = threading.Event()
        perform = storage._actions[Sync]

        def slow(request: Sync) -> None:
            syncing.set()
            assert release.wait(10)
            perform(request)

        monkeypatch.setitem(storage._actions, Sync, slow)
        write = asyncio.create_task(db.set("k", 1))
        while not syncing.is_set():
            await asyncio.sleep(0)
        assert await db.get("k") is None  # a read goes on, and sees nothing that is not durable
        release.set()
        assert await write is True
        assert await db.get("k") == b"1"


async def test_reads_that_miss_the_page_cache_leave_the_loop(store_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with FerroKV.open(store_path, block_cache_bytes=0, hot_cache_bytes=0) as db:
        await db.mset({f"key:{i}": i for i in range(500)})
        await db.flush()
        storage = db._store.storage
        threads: set[str] = set()
        read = storage._actions[ReadAt]

        def note(request: ReadAt) -> bytes:
            threads.add(threading.current_thread().name)
            return read(request)

        monkeypatch.setitem(storage._actions, ReadAt, note)
        monkeypatch.setattr(storage, "read_if_cached", lambda request: None)
        assert await db.get("key:7") == b"7"
        assert len([pair async for pair in db.scan()]) == 500
        assert threads
        assert all(name.startswith("ferrokv-io") for name in threads)


def test_readers_never_see_half_of_a_batch(store_path: Path) -> None:
    with BlockingFerroKV.open(store_path) as db:
        names = [f"key:{i}" for i in range(20)]
        db.mset(dict.fromkeys(names, 0))
        stop = threading.Event()
        torn: list[Any] = []

        def read() -> None:
            while not stop.is_set():
                values = set(db.mget(names))
                scanned = {value for _, value in db.scan(prefix="key:")}
                if len(values) != 1 or len(scanned) != 1:
                    torn.append((values, scanned))

        readers = [threading.Thread(target=read) for _ in range(2)]
        for reader in readers:
            reader.start()
        for i in range(200):
            batch = WriteBatch()
            for name in names:
                batch.set(name, i)
            db.write(batch)
            if i % 50 == 0:
                db.flush()
        stop.set()
        for reader in readers:
            reader.join()
        assert torn == []


class _InterruptError(Exception):
    """What a signal handler of the test raises."""


def test_a_signal_handler_that_raises_leaves_a_consistent_store(
    store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The handler raises at random moments of `incr` in the main thread: every acknowledged one counts, none counts twice.

    Where the exception lands in a destructor, Python itself reports it as unraisable; that is not what is tested here. The
    hook of the test runner is set aside meanwhile, since a timer that fires inside the hook makes the hook itself fail.
    """
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    armed = False

    def interrupt(number: int, frame: object) -> None:
        if armed:
            raise _InterruptError

    old = signal.signal(signal.SIGALRM, interrupt)
    acknowledged = attempts = 0
    try:
        with BlockingFerroKV.open(store_path, memtable_bytes=20_000) as db:
            for i in range(600):
                attempts += 1
                signal.setitimer(signal.ITIMER_REAL, 0.00002 + (i % 60) * 0.000005)
                try:
                    armed = True
                    answer = db.incr("n")
                    acknowledged += 1
                    armed = False
                    assert answer >= acknowledged
                except _InterruptError:
                    armed = False
            # An interrupted write may still come, until a later one is acknowledged: then it has come or never will.
            seen = db.incr("n") - 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert acknowledged <= seen <= attempts
    assert acknowledged < attempts, "no call was interrupted"
    with BlockingFerroKV.open(store_path) as db:
        assert int(db.get("n") or 0) == seen + 1


def test_a_full_disk_is_named_and_passes(store_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with BlockingFerroKV.open(store_path) as db:
        db.set("k", 1)
        storage = db._store.storage

        def full(request: WriteAt) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setitem(storage._actions, WriteAt, full)
            for _ in range(3):
                with pytest.raises(StoreFull):
                    db.set("k", 2)
            assert db.get("k") == b"1"
        before = db.stats().wal_number
        db.set("k", 3)
        assert db.get("k") == b"3"
        assert db.stats().wal_number == before + 1, "appended to a file whose tail is uncertain"
    with BlockingFerroKV.open(store_path) as db:
        assert db.get("k") == b"3"


def test_a_failed_sync_stops_writes_and_reads_go_on(store_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with BlockingFerroKV.open(store_path) as db:
        db.set("k", 1)

        def fail(request: Sync) -> None:
            raise OSError(errno.EIO, "Input/output error")

        with monkeypatch.context() as patch:
            patch.setitem(db._store.storage._actions, Sync, fail)
            with pytest.raises(StoreFailed, match="errno=5"):
                db.set("k", 2)
        for call in (lambda: db.set("k", 3), db.flush, lambda: db.incr("n")):
            with pytest.raises(StoreFailed):
                call()
        assert db.get("k") == b"1"
        assert "syncing the WAL" in (db.stats().failed or "")
    with BlockingFerroKV.open(store_path) as db:
        assert db.get("k") in (b"1", b"2")
        db.set("k", 4)


def test_writers_wait_for_room_and_then_are_told(store_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with BlockingFerroKV.open(store_path, memtable_bytes=400, sealed_memtables_max=2, busy_timeout=0.2) as db:
        go = threading.Event()
        background = db._store._background
        step = background._step
        monkeypatch.setattr(background, "_step", lambda: go.wait(10) and step())
        writes = (db.set(f"key:{i}", "v" * 100) for i in range(50))
        with pytest.raises(StoreBusy, match=r"waiting for flushes or compaction.* sealed=2 sealed_memtables_max=2"):
            list(writes)
        go.set()
        deadline = time.monotonic() + 10
        while db.stats().sealed_memtables and time.monotonic() < deadline:
            time.sleep(0.01)
        db.set("k", 1)
        assert db.get("key:0") is not None


def test_acknowledged_writes_survive_kill_9(store_path: Path, run_python) -> None:
    """The child reports each acknowledged increment through a pipe before it goes on, and is killed in the middle."""
    program = """
import os, sys, threading
from ferrokv import BlockingFerroKV
db = BlockingFerroKV.open(sys.argv[1], memtable_bytes=20_000)
def work(name):
    while True:
        n = db.incr(f"counter:{name}")
        db.set(f"value:{name}:{n}", "v" * 50)
        os.write(1, b"%d %d\\n" % (name, n))
for name in range(3):
    threading.Thread(target=work, args=(name,), daemon=True).start()
threading.Event().wait()
"""
    for round_ in range(4):
        child = subprocess.Popen([sys.executable, "-c", program, str(store_path)], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        acknowledged: dict[str, int] = {}
        for _ in range(300 + 70 * round_):
            name, n = child.stdout.readline().split()
            acknowledged[name] = int(n)
        child.kill()
        rest, _ = child.communicate()
        for line in rest.splitlines(keepends=True):
            if line.endswith("\n"):
                name, n = line.split()
                acknowledged[name] = int(n)
        with BlockingFerroKV.open(store_path) as db:
            for name, n in acknowledged.items():
                assert n <= int(db.get(f"counter:{name}") or 0) <= n + 1
                assert db.get(f"value:{name}:{n}") == b"v" * 50
                assert db.get(f"value:{name}:1") == b"v" * 50
