"""Backups: a copy is whole or no store, is the store of one moment, and harms neither the source nor what stood at its place."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from ferrokv import (
    BackupReport,
    BlockingFerroKV,
    CorruptionError,
    FerroKV,
    FerroKVError,
    StoreBusy,
    StoreClosed,
    StoreFull,
    StorePathError,
    inspect_directory,
)
from ferrokv.local.commands import keys, lists, strings
from ferrokv.local.engine.engine import EXPIRY_GRACE_MS
from ferrokv.local.runtime.long_tasks import LongTask
from ferrokv.local.storage.drivers import complete
from ferrokv.local.storage.requests import Open, ReadAt, Request, Sync, WriteAt
from ferrokv.local.upkeep.backup import Copy, back_up, take_target
from ferrokv.testing.simulated import SimulatedStorage

from ..support.harness import SCALE, TINY, EngineHarness, ManualClock
from .test_damage import build
from .test_verify import damage

LARGE = 2 << 20  # a value of this size is worth a call of `progress` before the end


def copy_to(store: EngineHarness, target: SimulatedStorage, progress: Any = None) -> Copy:
    try:
        take_target(target)
        return complete(back_up(store.engine, target, progress), store.storage)
    finally:
        target.close()


def contents(db: BlockingFerroKV) -> dict[str, Any]:
    """All that a store holds, keyspace by keyspace."""
    found: dict[str, Any] = {"quotas": {name: stats.max_bytes for name, stats in db.keyspaces().items()}}
    for name in sorted(db.keyspaces()):
        with db.keyspace(name) as part:
            for key in part.scan_iter():
                read = {
                    b"string": part.get,
                    b"list": lambda key, part=part: part.lrange(key, 0, -1),
                    b"hash": part.hgetall,
                    b"set": part.smembers,
                    b"zset": lambda key, part=part: part.zrange(key, 0, -1, withscores=True),
                }[part.type(key)]
                found[f"{name}/{key.decode()}"] = (read(key), part.pexpiretime(key))
    return found


def fill(db: BlockingFerroKV) -> None:
    """Every type, in tables of two levels and in the WAL, in two keyspaces, one of them with a quota."""
    for i in range(200):
        db.set(f"key:{i:03}", f"old {i}", px=None if i % 3 else 10_000_000)
    db.rpush("list", *range(300))
    db.compact()
    db.hset("hash", mapping={f"field:{i}": i for i in range(50)})
    db.sadd("set", *range(40))
    db.flush()
    db.zadd("zset", {f"member:{i}": i / 3 for i in range(30)})
    db.pexpire("zset", 10_000_000)
    db.mset({f"key:{i:03}": f"new {i}" for i in range(0, 200, 2)})
    db.delete("key:001", "key:002")
    db.lpush("list", "first")
    with db.keyspace("other") as other:
        other.set("key:000", "of the other")
        other.set_quota(1 << 20)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Where nothing is yet, beside the store."""
    return tmp_path / "copy"


def test_the_copy_holds_all_that_the_store_holds(db: BlockingFerroKV, target: Path) -> None:
    fill(db)
    expected = contents(db)
    report = db.backup(target)
    assert isinstance(report, BackupReport)
    assert report.path == str(target)
    files = {path.name: path.stat().st_size for path in target.iterdir() if path.suffix != ".lock"}
    assert report.bytes == sum(files.values())
    assert report.tables == len(list(target.glob("table-*"))) == 1
    assert report.records > 600
    assert inspect_directory(target).is_store
    with BlockingFerroKV.open(target) as copy:
        assert copy.verify().ok
        assert contents(copy) == expected
        assert copy.stats().store_id != db.stats().store_id
        assert copy.stats().seqno >= db.stats().seqno
        copy.set("only", "in the copy")
    assert db.get("only") is None
    assert contents(db) == expected


async def test_the_asyncio_face_makes_the_same_copy(store_path: Path, target: Path) -> None:
    with BlockingFerroKV.open(store_path) as db:
        fill(db)
        expected = contents(db)
        async with FerroKV.open(store_path) as same:
            calls: list[tuple[int, int, threading.Thread]] = []
            await same.backup(str(target), lambda done, total: calls.append((done, total, threading.current_thread())))
        assert calls
        assert calls[-1][0] == calls[-1][1]
        assert {call[2] for call in calls} == {threading.current_thread()}
    async with FerroKV.open(target) as copy:
        assert await copy.lrange("list", 0, 0) == [b"first"]
        with BlockingFerroKV.open(target) as blocking:
            assert contents(blocking) == expected


def test_an_empty_store_and_one_of_many_tables_are_copied(db: BlockingFerroKV, store_path: Path, target: Path) -> None:
    empty = target.with_name("empty")
    assert db.backup(empty)[1:3] == (0, 0)
    with BlockingFerroKV.open(empty) as copy:
        assert copy.dbsize() == 0
        copy.set("k", 1)
    db.close()
    with BlockingFerroKV.open(store_path, memtable_bytes=10_000, table_bytes=5_000, level1_bytes=20_000) as small:
        small.mset({f"key:{i:04}": i for i in range(3_000)})
        report = small.backup(target)
        assert report.tables > 5
    with BlockingFerroKV.open(target) as copy:
        assert copy.verify().ok
        assert copy.dbsize() == 3_000
        assert [level.tables for level in copy.stats().levels if level.tables] == [report.tables]
        assert copy.stats().levels[0].tables == 0


@pytest.mark.parametrize("seed", range(6 * SCALE))
def test_the_copy_is_that_of_one_moment_while_others_go_on(seed: int) -> None:
    """At every request this process or another one writes, flushes and compacts; the copy has the state of the beginning."""
    store, states = build(seed)
    other = EngineHarness(SimulatedStorage(2, shares=store.storage), store.clock)
    written = []

    def go_on(index: int, request: Request) -> None:
        writer = store if index % 2 else other
        writer.set(b"key:%02d" % (index % 25), b"of index %d" % index)
        written.append(index)
        if index % 5 == 0:
            writer.rotate()
            writer.flush()
        if index % 11 == 0:
            writer.compact(everything=True)

    target = SimulatedStorage(3)
    take_target(target)
    target.observe = go_on
    complete(back_up(store.engine, target), store.storage)
    target.observe = None
    target.close()
    assert len(written) > 15
    copy = EngineHarness(target, store.clock)
    assert dict(copy.scan()) == states[-1]
    copy.check()
    store.refresh()
    store.check()
    assert dict(store.scan()) != states[-1]


def test_what_this_process_overwrites_in_memory_meanwhile_is_copied_as_it_was() -> None:
    """The memtable is read page by page, and the writer goes on in it."""
    store = EngineHarness(SimulatedStorage(1), ManualClock(), TINY._replace(memtable_bytes=1 << 20))
    old = {b"key:%04d" % i: b"old" for i in range(1_000)}
    store.write(strings.write_many, [(key, value, None) for key, value in old.items()])

    def overwrite() -> None:
        store.write(strings.write_many, [(b"key:%04d" % i, b"new", None) for i in range(0, 1_100, 7)])

    target = SimulatedStorage(2)
    take_target(target)
    complete(back_up(store.engine, target), store.storage, overwrite)
    target.close()
    assert dict(EngineHarness(target, store.clock).scan()) == old
    assert store.get(b"key:1099") == b"new"


@pytest.mark.parametrize("seed", range(6 * SCALE))
def test_a_power_cut_at_any_request_leaves_no_store_or_the_whole_copy(seed: int) -> None:
    store, states = build(seed)
    target = SimulatedStorage(seed)
    whole = []

    def cut(index: int, request: Request) -> None:
        for way in range(8):
            after = target.after_power_cut(seed * 1_009 + index * 11 + way)
            if "CURRENT" in after.machine.names:
                whole.append(index)
                copy = EngineHarness(after, store.clock)
                assert dict(copy.scan()) == states[-1]
                copy.check()
                copy.set(b"after", b"1")
                assert copy.reopen().get(b"after") == b"1"
            elif after.machine.names:
                # Neither taken for a store that was never begun, nor for an empty directory.
                with pytest.raises(FerroKVError, match="interrupted"):
                    take_target(after)
                with pytest.raises(CorruptionError, match="identity is missing"):
                    EngineHarness(after, store.clock)

    target.observe = cut
    copy_to(store, target)
    target.observe = None
    assert target.requests > 15
    assert whole, "no cut came after the renaming"
    assert len(set(whole)) <= 2, "CURRENT was there before the end"
    for way in range(20):
        assert dict(EngineHarness(target.after_power_cut(way), store.clock).scan()) == states[-1]


@pytest.mark.parametrize("seed", range(3 * SCALE))
def test_a_power_cut_while_a_refused_copy_is_removed_leaves_no_damaged_store(seed: int) -> None:
    """The last sync fails, so the copy is removed, although CURRENT is there: that has to go first."""
    store, states = build(seed)
    counting = SimulatedStorage(seed)
    copy_to(store, counting)
    last = counting.requests - 2  # SyncDirectory behind the renaming; then the names are listed
    target = SimulatedStorage(seed)

    def observe(index: int, request: Request) -> None:
        for way in range(8):
            after = target.after_power_cut(index * 11 + way)
            if "CURRENT" in after.machine.names:
                assert dict(EngineHarness(after, store.clock).scan()) == states[-1]
        if index == last:
            raise OSError(errno.EIO, "Input/output error")

    target.observe = observe
    with pytest.raises(StorePathError, match="errno=5"):
        copy_to(store, target)
    assert target.machine.names == {}


@pytest.mark.parametrize(
    ("code", "error"), [(errno.ENOSPC, StoreFull), (errno.EIO, StorePathError), (errno.EMFILE, StoreBusy)]
)
def test_any_request_that_fails_at_the_target_is_named_and_leaves_nothing(code: int, error: type[Exception]) -> None:
    store, states = build(1)
    counting = SimulatedStorage(1)
    copy_to(store, counting)
    for position in range(counting.requests):
        target = SimulatedStorage(1)

        def fail(index: int, request: Request, position: int = position) -> None:
            # A full disk stays full; where room is only wished for, less of it will do.
            takes_room = isinstance(request, WriteAt) or (isinstance(request, Open) and request.create)
            if index == position or (code == errno.ENOSPC and index > position and takes_room):
                raise OSError(code, "injected")

        target.observe = fail
        with pytest.raises(error):
            copy_to(store, target)
        target.observe = None
        assert target.machine.names == {}, position
        assert not target.machine.locks
    assert dict(store.scan()) == states[-1]
    store.set(b"k", b"1")
    store.check()
    copy_to(store, SimulatedStorage(2))


def test_generations_stay_unique_in_the_copy() -> None:
    """A new collection must not get the elements of one that came along, nor of a dead one."""
    storage, clock = SimulatedStorage(1), ManualClock()
    store = EngineHarness(storage, clock)
    for i in range(5):
        store.write(lists.push, b"list:%d" % i, [b"%d" % i] * 3, False, False)
    store.delete(b"list:0")
    target = SimulatedStorage(2)
    copy_to(store, target)
    copy = EngineHarness(target, clock)
    assert copy.engine.view.active.seqno >= store.engine.view.active.seqno

    def read(name: bytes) -> Any:
        return copy.write(lambda tx: tx.complete(lists.slice_of(tx, name, 0, -1)))

    for i in range(5):
        assert copy.write(lists.push, b"new:%d" % i, [b"new"], False, False) == 1
    assert [read(b"list:%d" % i) for i in range(5)] == [[], *([b"%d" % i] * 3 for i in range(1, 5))]
    assert [read(b"new:%d" % i) for i in range(5)] == [[b"new"]] * 5
    copy.rotate()
    copy.flush()
    copy.compact(everything=True)
    assert [read(b"list:%d" % i) for i in range(5)] == [[], *([b"%d" % i] * 3 for i in range(1, 5))]
    copy.check()


def test_what_is_dead_stays_behind_and_what_expires_does_so_in_the_copy() -> None:
    storage, clock = SimulatedStorage(1), ManualClock()
    store = EngineHarness(storage, clock)
    store.set(b"cleared", b"secret of a keyspace that was cleared")
    store.write(keys.clear)
    store.set(b"long expired", b"secret of long ago", 1_000)
    clock.now_ms += EXPIRY_GRACE_MS + 2_000
    store.set(b"just expired", b"v", 1_000)
    store.set(b"expires", b"v", 5_000)
    store.set(b"deleted", b"secret that was deleted")
    store.delete(b"deleted")
    clock.now_ms += 2_000
    store.set(b"stays", b"v")
    target = SimulatedStorage(2)
    copy = copy_to(store, target)
    assert not any(b"secret" in inode.content for inode in target.machine.names.values())
    opened = EngineHarness(target, clock)
    assert dict(opened.scan()) == {b"expires": b"v", b"stays": b"v"}
    clock.now_ms += 3_000
    assert dict(opened.scan()) == {b"stays": b"v"}
    assert copy.records == sum(table.meta.records for table in opened.engine.view.version.tables())


def test_damage_in_the_store_is_raised_and_the_copy_removed(
    db: BlockingFerroKV, store_path: Path, target: Path
) -> None:
    fill(db)
    target.mkdir(mode=0o700)
    for table in sorted(store_path.glob("table-*")):
        offset = table.stat().st_size // 2
        damage(table, offset)
        with pytest.raises(CorruptionError, match=table.name):
            db.backup(target)
        with pytest.raises(CorruptionError, match=table.name):
            db.backup(target.with_name("new"))
        damage(table, offset)
        assert not target.with_name("new").exists(), "a directory that was made is removed"
        assert [path.name for path in target.iterdir()] in ([], ["open.lock"])
    assert db.backup(target).records > 600


def test_a_sector_of_the_store_that_can_not_be_read_is_damage(
    db: BlockingFerroKV, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(db)

    def fail(request: ReadAt) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setitem(db._store.storage._actions, ReadAt, fail)
        with pytest.raises(CorruptionError, match=r"cannot be read: reason=Input/output error path=table"):
            db.backup(target)
    assert not target.exists()
    db.set("k", 1)  # the store itself is not poisoned


def test_a_target_that_can_not_serve_is_refused_untouched(
    db: BlockingFerroKV, store_path: Path, tmp_path: Path
) -> None:
    db.set("k", 1)
    full = tmp_path / "full"
    full.mkdir()
    (full / "letter").write_text("dear")
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "link").symlink_to(store_path)
    copied = tmp_path / "copied"
    db.backup(copied)
    refused = {
        store_path: "outside",
        store_path / "copy": "outside",
        store_path / "a" / ".." / "copy": "outside",
        tmp_path / "link" / "copy": "outside",
        full: "not empty: found=letter",
        copied: "holds a store already",
        full / "letter": "must be a directory",
        tmp_path / "open": "writable by everybody",
        tmp_path / "no" / "copy": "parent must exist",
    }
    before = sorted(tmp_path.rglob("*"))
    for path, reason in refused.items():
        with pytest.raises(StorePathError, match=reason):
            db.backup(path)
    for nonsense in ("", "a\0b", 5, None):
        with pytest.raises(StorePathError):
            db.backup(nonsense)  # type: ignore[arg-type]
    assert sorted(tmp_path.rglob("*")) == before
    assert (full / "letter").read_text() == "dear"


def test_a_relative_path_and_a_beginning_in_common_are_no_hindrance(
    db: BlockingFerroKV, store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.set("k", 1)
    monkeypatch.chdir(store_path.parent)
    name = store_path.name + "-copy"
    assert db.backup(name).path == str(store_path.parent / name)
    with BlockingFerroKV.open(name) as copy:
        assert copy.get("k") == b"1"


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="no second file system to write to")
def test_the_target_may_be_on_another_file_system(db: BlockingFerroKV) -> None:
    fill(db)
    parent = Path(tempfile.mkdtemp(dir="/dev/shm"))
    try:
        db.backup(parent / "copy")
        with BlockingFerroKV.open(parent / "copy") as copy:
            assert contents(copy) == contents(db)
    finally:
        shutil.rmtree(parent)


def test_the_copy_is_private(db: BlockingFerroKV, target: Path) -> None:
    db.set("k", 1)
    db.backup(target)
    assert target.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in target.iterdir()} == {0o600}


def test_a_reader_makes_a_copy_with_and_without_a_writer(store_path: Path, target: Path) -> None:
    with BlockingFerroKV.open(store_path) as db:
        fill(db)
        expected = contents(db)
        with BlockingFerroKV.open(store_path, read_only=True) as reader:
            db.set("later", 1)
            reader.backup(target)
        with BlockingFerroKV.open(target) as copy:
            assert contents(copy) == {**expected, "default/later": (b"1", -1)}
    before = {path.name: path.read_bytes() for path in store_path.iterdir()}
    with BlockingFerroKV.open(store_path, read_only=True) as reader:
        reader.backup(target.with_name("second"))
    assert {path.name: path.read_bytes() for path in store_path.iterdir()} == before
    with BlockingFerroKV.open(target.with_name("second"), read_only=True) as copy:
        assert contents(copy) == {**expected, "default/later": (b"1", -1)}


def test_what_a_killed_process_leaves_is_no_store_and_the_next_backup_says_so(
    db: BlockingFerroKV, store_path: Path, target: Path
) -> None:
    fill(db)
    db.set("large", "v" * LARGE)
    db.set("larger", "v" * LARGE)
    db.flush()
    program = """
import os, signal, sys
from ferrokv import BlockingFerroKV
with BlockingFerroKV.open(sys.argv[1]) as db:
    db.backup(sys.argv[2], lambda done, total: os.kill(os.getpid(), signal.SIGKILL))
"""
    killed = subprocess.run([sys.executable, "-c", program, str(store_path), str(target)], check=False)
    assert killed.returncode == -9
    assert list(target.glob("table-*"))
    assert not inspect_directory(target).is_store
    with pytest.raises(CorruptionError, match="identity is missing"):
        BlockingFerroKV.open(target)
    with pytest.raises(StorePathError, match="interrupted backup; remove them"):
        db.backup(target)
    shutil.rmtree(target)
    db.backup(target)
    with BlockingFerroKV.open(target) as copy:
        assert contents(copy) == contents(db)


def test_nobody_begins_a_store_or_a_second_backup_in_the_target_meanwhile(
    db: BlockingFerroKV, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(db)
    db.set("large", "v" * LARGE)
    said: list[str] = []

    def intrude(done: int, total: int) -> None:
        for begin in (lambda: BlockingFerroKV.open(target, busy_timeout=0.05), lambda: db.backup(target)):
            try:
                begin()
            except FerroKVError as error:
                said.append(str(error))

    db.backup(target, intrude)
    assert "another process is opening the store" in said[0]
    assert len(said) >= 2
    with BlockingFerroKV.open(target) as copy:
        assert contents(copy) == contents(db)


def test_a_backup_into_a_directory_that_somebody_is_opening_waits_for_nobody(db: BlockingFerroKV, target: Path) -> None:
    target.mkdir(mode=0o700)
    lock = target / "open.lock"
    lock.touch(mode=0o600)
    import fcntl

    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(StoreBusy, match="is opening the target"):
            db.backup(target)
    assert lock.exists(), "the lock of somebody else was removed"
    db.backup(target)


class StopError(BrokenPipeError):
    """What a progress function of the tests raises: as print does when nobody reads any more."""


def test_progress_grows_to_the_total_and_what_it_raises_removes_the_copy(db: BlockingFerroKV, target: Path) -> None:
    for i in range(4):
        db.set(f"large:{i}", "v" * LARGE)
    db.flush()
    told: list[tuple[int, int]] = []
    db.backup(target.with_name("whole"), lambda done, total: told.append((done, total)))
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert len(told) >= 4
    assert told[-1][0] == told[-1][1] > 4 * LARGE

    def stop(done: int, total: int) -> None:
        assert list(target.glob("table-*")) or done < total
        raise StopError

    with pytest.raises(StopError):
        db.backup(target, stop)
    assert not target.exists()


@pytest.fixture
def lingering(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Until it is undone, copies that have told of their progress wait to be stopped, with much of the work still to do."""
    pause = LongTask._pause

    def wait(self: LongTask) -> None:
        while self.reason is None:
            time.sleep(0.001)
        pause(self)

    monkeypatch.setattr(LongTask, "_pause", wait)
    return monkeypatch


async def test_cancelling_removes_the_copy_before_it_is_over(
    store_path: Path, target: Path, lingering: pytest.MonkeyPatch
) -> None:
    async with FerroKV.open(store_path) as db:
        await db.mset({f"large:{i}": "v" * LARGE for i in range(3)})
        await db.flush()
        begun = asyncio.Event()
        backup = asyncio.create_task(db.backup(target, lambda done, total: begun.set()))
        await begun.wait()
        backup.cancel()
        with pytest.raises(asyncio.CancelledError):
            await backup
        assert not target.exists()
        with pytest.raises(StopError):
            await db.backup(target, _stop)
        assert not target.exists()
        lingering.undo()
        await db.backup(target)
    assert inspect_directory(target).is_store


def _stop(done: int, total: int) -> None:
    if done < total:
        raise StopError


def test_closing_the_store_meanwhile_removes_the_copy(store_path: Path, target: Path) -> None:
    db = BlockingFerroKV.open(store_path)
    fill(db)
    db.set("large", "v" * LARGE)
    with pytest.raises(StoreClosed):
        db.backup(target, lambda done, total: db.close())
    assert not target.exists()
    with BlockingFerroKV.open(store_path) as again:
        again.backup(target)


def test_closing_one_of_two_handles_meanwhile_changes_nothing(store_path: Path, target: Path) -> None:
    with BlockingFerroKV.open(store_path) as db:
        fill(db)
        other = BlockingFerroKV.open(store_path)
        other.backup(target, lambda done, total: other.close())
    assert inspect_directory(target).is_store


@pytest.mark.usefixtures("lingering")
async def test_closing_waits_for_a_copy_of_the_asyncio_face_to_be_removed(store_path: Path, target: Path) -> None:
    db = await FerroKV.open(store_path)
    await db.mset({f"large:{i}": "v" * LARGE for i in range(3)})
    await db.flush()
    begun = asyncio.Event()
    backup = asyncio.create_task(db.backup(target, lambda done, total: begun.set()))
    await begun.wait()
    await db.close()
    assert not target.exists()
    with pytest.raises(StoreClosed):
        await backup


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # 3.12 warns of forking a process that has threads
def test_a_child_that_is_forked_in_the_middle_leaves_the_copy_to_its_parent(db: BlockingFerroKV, target: Path) -> None:
    fill(db)
    for i in range(3):
        db.set(f"large:{i}", "v" * LARGE)
    db.flush()
    pids: list[int] = []

    def fork(done: int, total: int) -> None:
        if not pids:
            pids.append(os.fork())
            if pids[0]:
                assert os.waitstatus_to_exitcode(os.waitpid(pids[0], 0)[1]) == 7

    try:
        db.backup(target, fork)
    except StoreClosed as error:
        if "parent" in str(error) and pids == [0]:
            assert db.get("key:000") is not None
            os._exit(7)
        raise
    finally:
        if pids == [0]:
            os._exit(1)
    with BlockingFerroKV.open(target) as copy:
        assert copy.verify().ok
        assert contents(copy) == contents(db)


def test_a_full_disk_under_the_target_harms_only_the_copy(
    db: BlockingFerroKV, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(db)
    from ferrokv.local.storage import local

    def full(self: object, request: WriteAt | Sync) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(local.LocalStorage, "_sync", full)
        with pytest.raises(StoreFull, match="backup found no space"):
            db.backup(target)
    assert not target.exists()
    db.set("k", 1)
    db.backup(target)


def test_writers_go_on_while_a_copy_is_made(db: BlockingFerroKV, target: Path) -> None:
    """A pair of keys is always written together: whatever moment the copy has, it has them equal."""
    stop = threading.Event()

    def write() -> None:
        i = 0
        while not stop.is_set():
            i += 1
            db.mset({"a": i, "z": i, f"fill:{i % 500}": "v" * 200})

    fill(db)
    writer = threading.Thread(target=write)
    writer.start()
    try:
        for i in range(4):
            before = int(db.get("a") or 0)
            db.backup(target.with_name(f"copy-{i}"))
            after = int(db.get("a") or 0)
            with BlockingFerroKV.open(target.with_name(f"copy-{i}")) as copy:
                assert copy.get("a") == copy.get("z")
                assert before <= int(copy.get("a") or 0) <= after
                assert copy.verify().ok
    finally:
        stop.set()
        writer.join()
