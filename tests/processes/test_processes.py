"""Real processes on one directory: visibility, fork, death, stopped holders, readers, limits, and hostile circumstances."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import stat
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from ferrokv import (
    BlockingFerroKV,
    CorruptionError,
    FerroKV,
    FerroKVError,
    StoreBusy,
    StoreClosed,
    StoreFailed,
    StorePathError,
    StoreReadOnly,
    StoreUncertain,
    UnsupportedFormat,
)
from ferrokv.local.format import control
from ferrokv.local.runtime import background
from ferrokv.local.storage.requests import Lock

from ..support.peer import Peer, PeerError, leave_with


def test_each_process_sees_the_others_writes_at_its_next_read(store_path: Path) -> None:
    with BlockingFerroKV.open(store_path) as db, Peer(store_path) as peer:
        for i in range(50):
            db.set("k", i)
            assert peer.call("get", "k") == str(i)
            assert peer.call("incr", "n") == 2 * i + 1
            assert db.incr("n") == 2 * i + 2
            assert peer.call("delete", "k") == 1
            assert db.get("k") is None
        assert peer.call("flush") is True
        assert db.get("n") == b"100"
        assert peer.call("flushdb") is True
        assert db.get("n") is None
        assert list(db.scan()) == []
        snapshot = db.snapshot()
        peer.call("set", "later", "1")
        assert snapshot.get("later") is None
        assert db.get("later") == b"1"
        snapshot.close()


async def test_the_asyncio_face_sees_other_processes(store_path: Path) -> None:
    async with FerroKV.open(store_path) as db:
        with Peer(store_path) as peer:
            for i in range(20):
                assert peer.call("set", "k", i) is True
                assert await db.get("k") == b"%d" % i
                assert await db.mget("k", "none") == [b"%d" % i, None]
                assert await db.ttl("k") == -1
                assert [pair async for pair in db.scan()] == [(b"k", b"%d" % i)]
            peer.call("fill", 300)
            peer.call("flush")
            assert await db.get("fill:299") == b"v" * 100


def test_rotations_flushes_and_compactions_of_others_are_followed(store_path: Path) -> None:
    options = {"memtable_bytes": 20_000, "table_bytes": 20_000, "level1_bytes": 60_000, "level0_tables": 2}
    with BlockingFerroKV.open(store_path, **options) as db, Peer(store_path, **options) as peer:
        for round_ in range(20):
            for i in range(100):
                db.set(f"mine:{i}", f"{round_}" * 40)
            peer.call("fill", 100)
            assert peer.call("get", "mine:7") == f"{round_}" * 40
        assert peer.call("compact") is True
        assert db.get("fill:99") == b"v" * 100
        assert len(list(db.scan())) == 200
        stats = db.stats()
        assert stats.processes[0].pid == peer.pid
        assert stats.processes[0].program == "peer.py"
        assert abs(stats.processes[0].since_ms / 1000 - time.time()) < 300


def test_a_process_that_slept_through_everything_catches_up(store_path: Path) -> None:
    options = {"memtable_bytes": 20_000}
    with BlockingFerroKV.open(store_path, **options) as db, Peer(store_path, **options) as peer:
        db.set("k", 1)
        for _ in range(5):
            peer.call("fill", 200)
            peer.call("flush")
        peer.call("compact")
        peer.call("set", "k", 2)
        assert db.get("k") == b"2"
        assert db.get("fill:100") == b"v" * 100
        assert db.incr("k") == 3
        assert peer.call("get", "k") == "3"


def test_an_idle_process_lets_go_of_tables_that_others_replaced(
    store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert background.TICK_SECONDS <= 30
    monkeypatch.setattr(background, "TICK_SECONDS", 0.05)
    with BlockingFerroKV.open(store_path) as db, Peer(store_path) as peer:
        db.set("k", 1)
        for _ in range(3):
            peer.call("fill", 10)
            peer.call("flush")
        assert db.get("fill:1") is not None
        _wait_until(lambda: sum(level.tables for level in db.stats().levels) == 3)
        peer.call("compact")
        _wait_until(lambda: sum(level.tables for level in db.stats().levels) == 1)
        _wait_until(
            lambda: not [name for name in _open_files() if name.startswith(str(store_path)) and "deleted" in name]
        )


def _open_files() -> list[str]:
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{name}"))
        except FileNotFoundError:
            continue
    return found


def _wait_until(condition: Any, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _increment(db: BlockingFerroKV, times: int) -> None:
    for _ in range(times):
        db.incr("n")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # 3.12 warns of forking a process that has threads
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing_shares_the_store(store_path: Path, method: str) -> None:
    context = multiprocessing.get_context(method)
    with BlockingFerroKV.open(store_path) as db:
        db.set("n", 0)
        workers = [context.Process(target=_open_and_increment, args=(str(store_path), 50)) for _ in range(3)]
        for worker in workers:
            worker.start()
        _increment(db, 50)
        for worker in workers:
            worker.join(60)
        assert [worker.exitcode for worker in workers] == [0, 0, 0]
        assert db.get("n") == b"200"


def _open_and_increment(path: str, times: int) -> None:
    with BlockingFerroKV.open(path) as db:
        _increment(db, times)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_handle_works_on_in_forked_children_and_in_the_parent(store_path: Path) -> None:
    """As under `gunicorn --preload`: opened once, then forked, and forked again by a child."""
    with BlockingFerroKV.open(store_path) as db:
        sessions = db.keyspace("sessions")
        db.set("n", 0)
        snapshot = db.snapshot()
        stop = threading.Event()
        busy = threading.Thread(target=lambda: [db.set("busy", i) for i in iter(lambda: int(stop.is_set()), 1)])
        busy.start()  # forks fall into the middle of writes
        children = []
        for _ in range(4):
            pid = os.fork()
            if pid == 0:
                leave_with(lambda: _child(db, sessions, snapshot))
            children.append(pid)
        _increment(db, 30)
        codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
        stop.set()
        busy.join()
        assert codes == [0] * 4
        assert db.get("n") == b"%d" % (30 + 4 * 20 + 4 * 10)
        assert snapshot.get("n") == b"0"
        assert sessions.get("seen") == b"1"
        snapshot.close()
        sessions.close()
    with BlockingFerroKV.open(store_path) as db:
        assert db.get("n") == b"150"


def _child(db: BlockingFerroKV, sessions: BlockingFerroKV, snapshot: Any) -> int:
    _increment(db, 20)
    sessions.set("seen", 1)
    try:
        snapshot.get("n")
    except StoreClosed:
        pass
    else:
        return 1
    pid = os.fork()
    if pid == 0:
        leave_with(lambda: _increment(db, 10))
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _try_to_write(db: BlockingFerroKV, tell: int) -> None:
    try:
        db.set("k", 2)
        os.write(tell, b"written")
    except StoreBusy as error:
        os.write(tell, str(error).encode())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_does_not_let_go_of_the_parents_locks(store_path: Path) -> None:
    """M1 to M3: the child's copies of the descriptors neither unlock nor keep what the parent holds."""
    with BlockingFerroKV.open(store_path, busy_timeout=0.2) as db:
        db.set("k", 1)
        engine = db._store.engine
        assert db._store.storage._locks.take(Lock("write", 0))
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            leave_with(lambda: _try_to_write(db, write))
        os.waitpid(pid, 0)
        assert b"did not release the write lock: holder_pid=%d " % os.getpid() in os.read(read, 500)
        with Peer(store_path, busy_timeout=0.2) as peer, pytest.raises(PeerError, match="did not release"):
            peer.call("set", "k", 3)
        engine.unlock_write()
        db.set("k", 4)
        os.close(read)
        os.close(write)
        child = os.fork()
        if child == 0:
            time.sleep(5)
            os._exit(0)
        db.close()
        # The child has forgotten the parent's announcement, so a newcomer is alone.
        with BlockingFerroKV.open(store_path) as again:
            assert again.stats().processes == ()
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@pytest.mark.parametrize(("where", "error"), [("write", StoreBusy), ("sync", StoreUncertain)])
def test_a_stopped_holder_makes_writers_busy_and_lets_readers_read(
    store_path: Path, where: str, error: type[StoreBusy]
) -> None:
    with BlockingFerroKV.open(store_path, busy_timeout=0.3) as db, Peer(store_path) as peer:
        db.set("k", 1)
        peer.call("stall", where)
        peer.send("set", "k", 2)
        peer.wait_until_stopped()
        try:
            with pytest.raises(StoreBusy, match=f"holder_pid={peer.pid}") as caught:
                db.set("k", 3)
            assert caught.type is error
            assert db.get("k") == b"1"
            with BlockingFerroKV.open(store_path, read_only=True) as reader:
                assert reader.get("k") == b"1"
            with Peer(store_path, busy_timeout=0.3) as newcomer:
                assert newcomer.call("get", "k") == "1"
        finally:
            peer.go_on()
        assert peer.receive() is True
        assert db.get("k") in ((b"2",) if error is StoreBusy else (b"2", b"3"))
        db.set("k", 4)
        assert peer.call("get", "k") == "4"


def test_a_stopped_compactor_is_named_when_there_is_no_room_left(store_path: Path) -> None:
    options = {"memtable_bytes": 2_000, "sealed_memtables_max": 2, "busy_timeout": 0.5}
    with Peer(store_path, memtable_bytes=2_000) as peer:
        peer.call("set", "k", 1)
        with BlockingFerroKV.open(store_path, **options) as db:
            storage = db._store.storage
            # The peer's part is played by this process's own descriptor of the lock, taken from under its engine.
            other = type(storage)(storage.directory)
            assert other._locks.take(Lock("compact", 5))
            db._store.engine.words[control.COMPACTOR] = peer.pid
            writes = (db.set(f"key:{i}", "v" * 100) for i in range(500))
            with pytest.raises(StoreBusy, match=f"compactor_pid={peer.pid}"):
                list(writes)
            assert db.get("k") == b"1"
            assert db.stats().compactor_pid == peer.pid
            other.close()
            _wait_until(lambda: db.stats().sealed_memtables < 2)
            db.set("k", 2)
            assert peer.call("get", "k") == "2"


def test_a_holder_killed_in_the_middle_of_a_write_leaves_no_trace(store_path: Path) -> None:
    with BlockingFerroKV.open(store_path) as db:
        for i in range(6):
            with Peer(store_path) as peer:
                db.set("k", i)
                peer.call("stall", "write")
                peer.send("set", "k", "never")
                peer.wait_until_stopped()
                peer.kill()
            assert db.get("k") == b"%d" % i
            before = db.stats().wal_number
            db.incr("k", 100)
            assert db.stats().wal_number == before + 1, "appended behind bytes that nobody owns"
            assert db.get("k") == b"%d" % (i + 100)


def test_a_holder_killed_in_the_middle_of_a_sync_keeps_nobody_waiting(store_path: Path) -> None:
    """Its commit is whole in the WAL: readers do not see it before somebody's sync has made it durable."""
    with BlockingFerroKV.open(store_path) as db:
        for i in range(6):
            with Peer(store_path) as peer:
                db.set("k", i)
                peer.call("stall", "sync")
                peer.send("incr", "k", 10)
                peer.wait_until_stopped()
                assert db.get("k") == b"%d" % i
                peer.kill()
            assert db.get("k") == b"%d" % i
            assert db.incr("k") == i + 11
            assert db.get("k") == b"%d" % (i + 11)


def test_an_answer_that_rests_on_unsynced_data_waits_for_it(store_path: Path) -> None:
    """Another process has appended the key and is stopped in its sync: "it exists" must not be said before that is durable."""
    with BlockingFerroKV.open(store_path, busy_timeout=0.3) as db, Peer(store_path) as peer:
        db.set("other", 1)
        peer.call("stall", "sync")
        peer.send("set", "k", "mine")
        peer.wait_until_stopped()
        with pytest.raises(StoreUncertain):
            db.set("k", "not mine", nx=True)
        assert db.get("k") is None
        peer.go_on()
        assert peer.receive() is True
        assert db.set("k", "not mine", nx=True) is None
        assert db.get("k") == b"mine"


def test_a_failed_sync_stops_every_process(store_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ferrokv.local.storage.requests import Sync

    with Peer(store_path) as peer, BlockingFerroKV.open(store_path) as db:
        peer.call("set", "k", 1)

        def fail(request: Sync) -> None:
            raise OSError(5, "Input/output error")

        with monkeypatch.context() as patch:
            patch.setitem(db._store.storage._actions, Sync, fail)
            with pytest.raises(StoreFailed):
                db.set("k", 2)
        with pytest.raises(PeerError, match="StoreFailed"):
            peer.call("set", "k", 3)
        assert peer.call("get", "k") == "1"
        assert "another process" in peer.call("stats")["failed"]
        with Peer(store_path) as newcomer, pytest.raises(PeerError, match="StoreFailed"):
            newcomer.call("set", "k", 4)
    with BlockingFerroKV.open(store_path) as db:
        db.set("k", 5)


def test_readers_follow_living_writers_and_change_nothing(store_path: Path) -> None:
    with pytest.raises(StorePathError):
        BlockingFerroKV.open(store_path, read_only=True)
    assert not store_path.exists()
    with Peer(store_path, memtable_bytes=20_000) as peer:
        peer.call("set", "k", 1)
        with BlockingFerroKV.open(store_path, read_only=True) as reader:
            for i in range(30):
                peer.call("set", "k", i)
                assert reader.get("k") == b"%d" % i
            for _ in range(4):
                peer.call("fill", 150)
            peer.call("compact")
            assert reader.get("fill:149") == b"v" * 100
            assert len(list(reader.scan())) == 151
            for refused in (lambda: reader.set("k", 1), reader.flush, lambda: reader.delete("k"), reader.flushdb):
                with pytest.raises(StoreReadOnly):
                    refused()
            assert peer.call("stats")["processes"] == []
            peer.kill()
            before = sorted(os.listdir(store_path))
            assert reader.get("k") == b"29"
            with BlockingFerroKV.open(store_path, read_only=True) as same:
                assert same.get("k") == b"29"
            assert sorted(os.listdir(store_path)) == before
            with BlockingFerroKV.open(store_path) as db:
                db.set("k", "new")
                assert reader.get("k") == b"new"
            assert reader.get("k") == b"new"


def test_a_reader_of_a_store_that_nobody_has_open_finds_its_leader_later(store_path: Path) -> None:
    with BlockingFerroKV.open(store_path) as db:
        db.set("k", 1)
    for lose in (
        lambda: None,
        lambda: os.unlink(store_path / "control"),
        lambda: _write_page(store_path, 24, b"x" * 16),
    ):
        lose()
        with BlockingFerroKV.open(store_path, read_only=True) as reader:
            value = reader.get("k")
            assert value is not None
            with BlockingFerroKV.open(store_path) as db:
                assert reader.get("k") == value
                assert db.incr("k") == int(value) + 1
                assert reader.get("k") == b"%d" % (int(value) + 1)
                db.flush()
                db.incr("k")
                assert reader.get("k") == b"%d" % (int(value) + 2)


def _write_page(path: Path, offset: int, data: bytes) -> None:
    page = bytearray((path / "control").read_bytes())
    page[offset : offset + len(data)] = data
    (path / "control").write_bytes(page)


def test_a_user_without_the_right_to_write_may_read() -> None:
    """Root plays both; where the tests do not run as root, a directory without the write bit does."""
    parent = Path(tempfile.mkdtemp())
    path = parent / "store"
    try:
        parent.chmod(0o755)
        path.mkdir(mode=0o750)
        path.chmod(0o750)
        if os.geteuid() == 0:
            os.chown(path, 0, 65534)
        with BlockingFerroKV.open(path) as db:
            db.set("k", 1)
            modes = {stat.S_IMODE(file.stat().st_mode) for file in path.iterdir()}
            assert modes == {0o640}
            if os.geteuid() == 0:
                for file in path.iterdir():
                    os.chown(file, 0, 65534)
        if os.geteuid() != 0:
            for file in path.iterdir():
                file.chmod(0o400)
            path.chmod(0o500)
        pid = os.fork()
        if pid == 0:
            leave_with(lambda: _read_as_nobody(path))
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    finally:
        path.chmod(0o700)
        shutil.rmtree(parent)


def _read_as_nobody(path: Path) -> int:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
    with BlockingFerroKV.open(path, read_only=True) as reader:
        if reader.get("k") != b"1":
            return 1
    try:
        BlockingFerroKV.open(path)
    except StorePathError:
        return 0
    return 2


def test_a_directory_of_others_and_one_open_to_everybody_is_refused(store_path: Path) -> None:
    store_path.mkdir(mode=0o777)
    store_path.chmod(0o777)
    with pytest.raises(StorePathError, match="writable by everybody"):
        BlockingFerroKV.open(store_path)
    store_path.chmod(0o755)
    with BlockingFerroKV.open(store_path):
        assert {stat.S_IMODE(file.stat().st_mode) for file in store_path.iterdir()} == {0o600}


def test_a_renamed_directory_goes_on_and_a_removed_one_is_an_error(store_path: Path, tmp_path: Path) -> None:
    with BlockingFerroKV.open(store_path, memtable_bytes=10_000) as db, Peer(store_path) as peer:
        db.set("k", 1)
        assert peer.call("get", "k") == "1"
        moved = tmp_path / "moved"
        os.rename(store_path, moved)
        for i in range(200):
            db.set(f"key:{i}", "v" * 100)
        db.flush()
        assert peer.call("get", "key:199") == "v" * 100
        with Peer(moved) as other:
            assert other.call("incr", "k") == 2
        assert db.get("k") == b"2"
        shutil.rmtree(moved)
        with pytest.raises(StoreFailed, match="removed while the store was open"):
            db.set("k", 3)
        assert db.get("k") == b"2"
        with pytest.raises(PeerError, match="StoreFailed"):
            peer.call("set", "k", 4)
    with BlockingFerroKV.open(store_path) as db:
        assert db.get("k") is None


def test_another_layout_of_the_control_page_is_refused_while_it_is_in_use(store_path: Path) -> None:
    with Peer(store_path) as peer:
        peer.call("set", "k", 1)
        original = (store_path / "control").read_bytes()[:48]
        for offset, data in ((0, b"FKVCTRL1"), (8, b"y" * 16), (40, bytes([3]))):
            with open(store_path / "control", "r+b") as page:
                page.seek(offset)
                page.write(data)
            with pytest.raises(UnsupportedFormat, match="another version of ferrokv, or of another store"):
                BlockingFerroKV.open(store_path)
            with open(store_path / "control", "r+b") as page:
                page.write(original)
        assert peer.call("incr", "k") == 2
    with open(store_path / "control", "r+b") as page:
        page.write(b"FKVCTRL9")
    with BlockingFerroKV.open(store_path) as db:
        assert db.get("k") == b"2"


def test_64_descriptors_are_enough_beside_many_tables(store_path: Path) -> None:
    options = {"memtable_bytes": 3_000, "table_bytes": 1_000, "block_bytes": 500}
    with (
        BlockingFerroKV.open(store_path, busy_timeout=60, **options) as db,
        Peer(store_path, descriptors=64, busy_timeout=60, **options) as peer,
    ):
        peer.call("set", "k", 0)
        for i in range(16):
            for j in range(100):
                db.set(f"key:{i}:{j}", "v" * 100)
            db.flush()
            assert peer.call("incr", "k") == i + 1
        db.compact()
        assert sum(level.tables for level in db.stats().levels) > 64
        assert db.get("key:11:99") == b"v" * 100
        with Peer(store_path, descriptors=64) as newcomer:
            assert newcomer.call("get", "k") == "16"
            assert len(newcomer.call("scan")) == 1601
        assert db.incr("k") == 17
    with BlockingFerroKV.open(store_path) as db:
        assert len(list(db.scan())) == 1601


@pytest.mark.parametrize("name", ["write.lock", "sync.lock", "compact.lock"])
def test_a_lock_file_is_not_made_anew_beside_those_who_use_it(store_path: Path, name: str) -> None:
    with BlockingFerroKV.open(store_path) as db:
        db.set("k", 1)
        (store_path / name).unlink()
        with Peer(store_path) as peer, pytest.raises(PeerError, match=f"StorePathError.*{name}"):
            peer.call("set", "k", 2)
        db.set("k", 3)
    with BlockingFerroKV.open(store_path) as db, Peer(store_path) as peer:
        assert peer.call("incr", "k") == 4
        assert db.get("k") == b"4"


def test_files_of_the_dead_are_swept_by_the_next_opening(store_path: Path) -> None:
    for _ in range(3):
        with Peer(store_path) as peer:
            peer.call("set", "k", 1)
    assert len(list(store_path.glob("process-*.lock"))) == 1
    with BlockingFerroKV.open(store_path) as db:
        assert len(list(store_path.glob("process-*.lock"))) == 1
        assert db.stats().processes == ()
    assert list(store_path.glob("process-*.lock")) == []


def test_damage_under_a_living_store_is_named_by_the_follower(store_path: Path) -> None:
    with Peer(store_path) as peer, BlockingFerroKV.open(store_path) as db:
        db.set("k", 1)
        peer.call("set", "k", 2)
        wal = max(store_path.glob("wal-*.log"))
        with open(wal, "r+b") as file:
            data = file.read()
            place = data.rindex(b"FKVF") + 50
            file.seek(place)
            file.write(bytes([data[place] ^ 1]))
        with pytest.raises(CorruptionError, match=wal.name):
            db.get("k")
        with pytest.raises(FerroKVError):
            db.set("k", 3)
