"""Edges that a reviewer found by trying to break the store: closing, re-entry, garbage collection, limits."""

from __future__ import annotations

import errno
import gc
import os
import signal
import threading
import time
from collections import OrderedDict
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType

import pytest

from ferrokv import BlockingFerroKV, CorruptionError, DataError, FerroKV, StoreBusy, StoreClosed, StoreFull
from ferrokv.local.commands.keys import compile_pattern
from ferrokv.local.commands.strings import write_many
from ferrokv.local.runtime.waiters import WriterRequest
from ferrokv.local.storage.drivers import complete
from ferrokv.local.storage.requests import Request, Sync, WriteAt
from ferrokv.local.tree.memtable import Memtable
from ferrokv.testing.simulated import SimulatedStorage

from ..support.harness import EngineHarness, ManualClock


def test_closing_waits_for_a_write_that_another_thread_leads(store_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    db = BlockingFerroKV.open(store_path, memtable_bytes=4_000)
    db.mset({f"key:{i}": "v" * 20 for i in range(20)})  # enough for closing to flush, too little for a rotation
    storage = db._store.storage
    syncing, release = threading.Event(), threading.Event()
    perform = storage._actions[Sync]

    def slow(request: Sync) -> None:
        syncing.set()
        assert release.wait(10)
        perform(request)

    monkeypatch.setitem(storage._actions, Sync, slow)
    answers: list[bool] = []
    writer = threading.Thread(target=lambda: answers.append(db.set("in flight", 1)))
    writer.start()
    assert syncing.wait(10)
    closer = threading.Thread(target=db.close)
    closer.start()
    closer.join(0.1)
    assert closer.is_alive(), "closed under a writer"
    release.set()
    writer.join()
    closer.join()
    with BlockingFerroKV.open(store_path) as again:
        assert answers == [True]
        assert again.get("in flight") == b"1"


def test_exit_while_threads_write_keeps_the_store_readable(store_path: Path, run_python) -> None:
    program = """
import sys, threading, os
from ferrokv import BlockingFerroKV
db = BlockingFerroKV.open(sys.argv[1], memtable_bytes=20_000)
def work(name):
    i = 0
    while True:
        db.set(f"key:{name}:{i}", "v" * 50)
        os.write(1, b"%d %d\\n" % (name, i))
        i += 1
for name in range(3):
    threading.Thread(target=work, args=(name,), daemon=True).start()
threading.Event().wait(0.3)
"""
    for _ in range(3):
        done = run_python(program, str(store_path))
        assert done.returncode == 0, done.stderr
        with BlockingFerroKV.open(store_path) as db:
            for line in done.stdout.splitlines():
                name, i = line.split()
                assert db.get(f"key:{name}:{i}") is not None
            db.flushdb()


def test_a_write_that_comes_too_late_is_told(db: BlockingFerroKV) -> None:
    store = db._store
    store._writer.stop()
    store._background.stop()
    with pytest.raises(StoreClosed):
        db.set("k", 1)
    with pytest.raises(StoreClosed):
        store.submit(WriterRequest(write_many, "default", ([],)))
    with pytest.raises(StoreClosed):
        db.flush()


def test_damage_is_reported_every_time(store_path: Path) -> None:
    with BlockingFerroKV.open(store_path) as db:
        db.set("first", 1)
        db.set("last", 2)
    wal = max(store_path.glob("wal-*"))
    data = bytearray(wal.read_bytes())
    data[data.index(b"last")] ^= 1
    wal.write_bytes(data)
    before = {path.name: path.read_bytes() for path in store_path.iterdir()}
    for _ in range(3):
        with pytest.raises(CorruptionError):
            BlockingFerroKV.open(store_path)
    assert {path.name: path.read_bytes() for path in store_path.iterdir()} == before


def test_snapshots_and_scans_may_be_collected_at_any_moment(db: BlockingFerroKV) -> None:
    db.mset({f"key:{i}": i for i in range(200)})
    old = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for i in range(20):
            for thing in (db.snapshot(), db.scan()):
                cycle: list[object] = [thing]
                cycle.append(cycle)
                if i % 2:
                    next(iter(db.scan()))
            del cycle, thing
            db.mset({f"key:{n}": i for n in range(50)})
    finally:
        gc.set_threshold(*old)


def test_a_write_from_a_signal_handler_goes_through_or_is_told(db: BlockingFerroKV) -> None:
    answers: list[str] = []

    def handler(number: int, frame: object) -> None:
        try:
            db.set("from the handler", 1)
            db.mget("from the handler", "other")
            answers.append("went through")
        except StoreBusy:
            answers.append("busy")

    old = signal.signal(signal.SIGALRM, handler)
    try:
        for i in range(300):
            signal.setitimer(signal.ITIMER_REAL, 0.00002 + (i % 30) * 0.00001)
            db.set("k", i)
            list(db.scan(limit=3))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert "busy" in answers
    assert db.get("k") == b"299"


def test_an_interrupted_and_repeated_step_keeps_what_a_snapshot_sees() -> None:
    memtable = Memtable(1, 0)
    memtable.apply({b"k": (b"old", 0, 1, None)}, 1)
    seqno = memtable.pin()
    entries = {b"k": (b"new", 0, 2, None)}
    memtable.apply(dict(entries), 2)
    memtable.apply(dict(entries), 2)
    found = memtable.get_at(b"k", seqno)
    assert found is not None
    assert found[0] == b"old"


def test_overlapping_snapshots_keep_only_what_they_see() -> None:
    memtable = Memtable(1, 0)
    pinned = None
    for seqno in range(1, 2_000):
        memtable.apply({b"k": (b"%d" % seqno, 0, seqno, None)}, seqno)
        newer = memtable.pin()
        if pinned is not None:
            memtable.unpin(pinned)
        pinned = newer
    kept, entry = 0, memtable.entries[b"k"]
    while entry is not None:
        kept, entry = kept + 1, entry[3]
    assert kept <= 3


def test_commands_that_are_too_large_are_refused(db: BlockingFerroKV) -> None:
    value = b"v" * (45 << 20)
    with pytest.raises(DataError, match="batch holds at most"):
        db.mset({"a": value, "b": value})
    with pytest.raises(DataError, match="at most"):
        db.delete(*[b"k"] * ((1 << 20) + 1))
    assert db.stats().commits == 0


def test_odd_keys_and_mappings(db: BlockingFerroKV) -> None:
    class Name(bytes):
        pass

    with pytest.raises(DataError, match="UTF-8"):
        db.set("\ud800", 1)
    with pytest.raises(DataError, match="UTF-8"):
        db.set("k", "\ud800")
    db.set(Name(b"k"), Name(b"v"))
    assert type(db.get("k")) is bytes
    assert db.mset(MappingProxyType({"a": 1})) is True
    assert db.mset(OrderedDict(b=2)) is True


def test_a_pattern_with_many_stars_is_no_trap() -> None:
    pattern = compile_pattern(b"*a" * 12 + b"*b")
    start = time.process_time()
    assert pattern.fullmatch(b"a" * 3_000) is None
    assert time.process_time() - start < 60, "backtracks"
    for glob, key, matches in [
        (b"*", b"", True),
        (b"a*", b"abc", True),
        (b"*c", b"abc", True),
        (b"a*b*c", b"axxbxxc", True),
        (b"a*b*c", b"axxcxxb", False),
        (b"**a**", b"xa\n", True),
        (b"[a-c]*\\*", b"bx*", True),
        (b"a*a", b"a", False),
    ]:
        assert bool(compile_pattern(glob).fullmatch(key)) is matches, (glob, key)


def test_a_large_record_stands_in_a_block_of_its_own() -> None:
    store = EngineHarness(SimulatedStorage(1), ManualClock())
    store.write(write_many, [(b"key:%d" % i, b"v" if i != 5 else b"V" * 5_000, None) for i in range(10)])
    store.rotate()
    store.flush()
    table = store.engine.view.version.levels[0][0]
    assert store.get(b"key:4") == b"v"
    offsets = complete(table.load_index(), store.storage).offsets
    sizes = [b - a for a, b in pairwise(offsets)]
    assert sum(size > 5_000 for size in sizes) == 1
    assert max(sizes) < 5_100
    assert store.get(b"key:5") == b"V" * 5_000


def test_a_full_disk_leaves_no_tables_behind() -> None:
    storage = SimulatedStorage(1)
    store = EngineHarness(storage, ManualClock())
    store.set(b"k", b"v")
    store.rotate()

    def full(index: int, request: Request) -> None:
        if isinstance(request, WriteAt) and request.file.name.startswith("manifest"):
            raise OSError(errno.ENOSPC, "injected")

    storage.observe = full
    for _ in range(5):
        with pytest.raises(StoreFull):
            store.flush()
    assert len([name for name in storage.machine.names if name.startswith(("table", "manifest"))]) <= 2
    storage.observe = None
    assert store.flush()
    assert len([name for name in storage.machine.names if name.startswith(("table", "manifest"))]) == 2
    assert store.reopen().get(b"k") == b"v"


def test_a_fork_during_close_does_not_keep_the_directory(store_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    db = BlockingFerroKV.open(store_path)
    writer = db._store._writer
    stop = writer.stop
    read, write = os.pipe()
    ready_read, ready_write = os.pipe()
    children: list[int] = []

    def fork_and_stop() -> None:
        pid = os.fork()
        if pid == 0:
            os.close(write)
            os.write(ready_write, b"r")
            os.read(read, 1)
            os._exit(0)
        children.append(pid)
        os.read(ready_read, 1)  # the child has run its hook
        stop()

    monkeypatch.setattr(writer, "stop", fork_and_stop)
    db.close()
    BlockingFerroKV.open(store_path).close()
    for fd in (read, write, ready_read, ready_write):
        os.close(fd)
    os.waitpid(children[0], 0)


def test_interrupted_closing_still_lets_go(store_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    db = BlockingFerroKV.open(store_path)
    stop = db._store._writer.stop
    calls: list[int] = []

    def interrupted() -> None:
        calls.append(1)
        if len(calls) == 1:
            raise KeyboardInterrupt
        stop()

    monkeypatch.setattr(db._store._writer, "stop", interrupted)
    with pytest.raises(KeyboardInterrupt):
        db.close()
    BlockingFerroKV.open(store_path).close()


async def test_a_long_mget_lets_the_loop_go_on(store_path: Path) -> None:
    import asyncio

    async with FerroKV.open(store_path) as db:
        await db.set("k", 1)
        turns = 0
        done = asyncio.Event()

        async def count() -> None:
            nonlocal turns
            while not done.is_set():
                turns += 1
                await asyncio.sleep(0)

        counter = asyncio.create_task(count())
        await asyncio.sleep(0)
        assert await db.mget(["k"] * 10_000) == [b"1"] * 10_000
        assert await db.exists(*["k"] * 10_000) == 10_000
        done.set()
        await counter
        assert turns > 20


def test_a_handler_that_closes_is_refused_in_the_middle_of_a_write_and_loses_nothing(store_path: Path) -> None:
    """The usual SIGTERM pattern: the handler closes the store, whatever the main thread is doing."""
    outcomes: list[str] = []
    for round_ in range(40):
        db = BlockingFerroKV.open(store_path, memtable_bytes=4_000)
        others = [threading.Thread(target=_write_until_closed, args=(db, name)) for name in range(round_ % 2)]
        for other in others:
            other.start()

        def handler(number: int, frame: object, db: BlockingFerroKV = db) -> None:
            try:
                db.close()
                outcomes.append("closed")
            except StoreBusy:
                outcomes.append("busy")

        old = signal.signal(signal.SIGALRM, handler)
        acknowledged = -1
        before = len(outcomes)
        left = 10  # writes behind the signal
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.004 + round_ * 0.0001)
            while left:
                db.set("k", acknowledged + 1)
                acknowledged += 1
                left -= len(outcomes) > before
        except StoreClosed:
            outcomes.append("told")
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, old)
        db.close()
        for other in others:
            other.join()
        with BlockingFerroKV.open(store_path) as again:
            assert int(again.get("k") or -1) >= acknowledged
    assert "busy" in outcomes


def _write_until_closed(db: BlockingFerroKV, name: int) -> None:
    try:
        while True:
            db.set(f"other:{name}", "v" * 20)
    except StoreClosed:
        return


@pytest.mark.parametrize(
    ("glob", "key", "matches"),
    [
        (b"[a", b"a", True),
        (b"[", b"[", False),
        (b"[^", b"\\", True),
        (b"[a-]x]", b"b]", False),
        (b"[\\a-c]", b"-", True),
        (b"[\\a-c]", b"b", False),
        (b"[c-a]", b"b", True),
        (b"[^a-c]", b"d", True),
        (b"[]", b"a", False),
        (b"a\\", b"a\\", True),
        (b"", b"a", False),
    ],
)
def test_globs_are_read_as_redis_reads_them(glob: bytes, key: bytes, matches: bool) -> None:
    assert bool(compile_pattern(glob).fullmatch(key)) is matches


def test_an_empty_pattern_matches_nothing(db: BlockingFerroKV) -> None:
    db.mset({"a": 1, "b": 2})
    assert db.keys("") == []
    assert db.keys() == [b"a", b"b"]


def test_an_older_control_page_of_this_boot_drops_nothing(store_path: Path, run_python) -> None:
    program = """
import os, shutil, sys
from ferrokv import BlockingFerroKV
db = BlockingFerroKV.open(sys.argv[1])
for i in range(5):
    db.set(f"key:{i}", i)
shutil.copy(sys.argv[1] + "/control", sys.argv[1] + "/../older")
for i in range(5, 10):
    db.set(f"key:{i}", i)
os._exit(0)
"""
    run_python(program, str(store_path))
    (store_path / "control").write_bytes((store_path.parent / "older").read_bytes())
    with BlockingFerroKV.open(store_path) as db:
        assert len(db.keys()) == 10


def test_numbers_and_paths_that_can_not_be_are_named(db: BlockingFerroKV) -> None:
    with pytest.raises(DataError, match="number"):
        db.set("k", 10**5000)
    for path in (None, 3, b"/tmp/store"):
        with pytest.raises(OSError, match="str or PathLike"):
            BlockingFerroKV.open(path)  # type: ignore[arg-type]


async def test_a_cancelled_close_still_releases_the_store(store_path: Path) -> None:
    import asyncio

    db = await FerroKV.open(store_path)
    await db.set("k", 1)
    closing = asyncio.create_task(db.close())
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    await db.close()
    async with FerroKV.open(store_path) as again:
        assert await again.get("k") == b"1"
