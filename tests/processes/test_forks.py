"""Forks by C code, which run none of Python's hooks, as uWSGI's do: noticed at the next call of any kind."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ferrokv import BlockingFerroKV, StoreClosed
from ferrokv.local.faces import reader
from ferrokv.local.runtime import forks, registry, store
from ferrokv.local.storage import forks as flags
from ferrokv.local.storage import lock_files

from ..engine.test_closing import left_open
from ..support.peer import Peer, leave_with

libc = ctypes.PyDLL(None)  # keeps the interpreter's lock over the call, as uWSGI does


def raw_child(work: Callable[[], Any]) -> int:
    """The exit code of a child that Python was not told of: 0 if `work` says True, -9 if it hangs."""
    code = -signal.SIGKILL
    interval = sys.getswitchinterval()
    for _ in range(4):
        # A thread of the parent that waits for the interpreter at the fork leaves in the interpreter's condition variables a
        # waiter that is not there, and asks for a turn that it cannot take: the child may hang before its first line. So they are
        # given the time to fall asleep, and nobody asks for a turn meanwhile.
        sys.setswitchinterval(100)
        time.sleep(0.02)
        pid = libc.fork()
        sys.setswitchinterval(interval)
        if pid == 0:
            leave_with(lambda: 0 if work() else 1)
        code = exit_code(pid, seconds=20)
        if code != -signal.SIGKILL:
            break
    return code


def exit_code(pid: int, seconds: float) -> int:
    """The exit code of a child, which is killed if it takes longer."""
    deadline = time.monotonic() + seconds
    while (ended := os.waitpid(pid, os.WNOHANG))[0] == 0:
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            ended = os.waitpid(pid, 0)
            break
        time.sleep(0.002)
    return os.waitstatus_to_exitcode(ended[1])


CALLS: dict[str, Callable[[BlockingFerroKV, Path], Any]] = {
    "get": lambda db, path: db.get("k") == b"v",
    "get of a missing key": lambda db, path: db.get("missing") is None,
    "get from a table": lambda db, path: db.get("old") == b"v",
    "exists": lambda db, path: db.exists("k") == 1,
    "scan": lambda db, path: [key for key, _ in db.scan()] == [b"k", b"old"],
    "set": lambda db, path: db.set("own", "x"),
    "incr": lambda db, path: db.incr("n") == 1,
    "transaction": lambda db, path: db.transaction(lambda tx: tx.get("k")) == b"v",
    "pipeline": lambda db, path: db.pipeline().set("own", 1).get("k").execute() == [True, b"v"],
    "deferral": lambda db, path: _defer(db),
    "snapshot": lambda db, path: db.snapshot().get("k") == b"v",
    "stats": lambda db, path: db.stats().processes != (),
    "flush": lambda db, path: db.flush(),
    "compact": lambda db, path: db.compact(),
    "verify": lambda db, path: db.verify().ok,
    "backup": lambda db, path: db.backup(path / "copy").records >= 2,
    "keyspace": lambda db, path: db.keyspace("other").set("k", 1),
    "lock": lambda db, path: db.lock("l").acquire(),
    "blpop": lambda db, path: db.rpush("list", "x") == 1 and db.blpop("list", timeout=1) == (b"list", b"x"),
    "open": lambda db, path: BlockingFerroKV.open(path / "store").get("k") == b"v",
    "close": lambda db, path: db.close() is None,
}


def _defer(db: BlockingFerroKV) -> bool:
    with db.deferral() as deferral:
        db.within(deferral).set("own", 1)
    return db.get("own") == b"1"


@pytest.mark.parametrize("name", CALLS)
def test_any_first_call_in_a_raw_child_works_and_the_parent_goes_on(tmp_path: Path, name: str) -> None:
    with BlockingFerroKV.open(tmp_path / "store") as db:
        db.set("old", "v")
        db.flush()
        db.set("k", "v")
        assert raw_child(lambda: CALLS[name](db, tmp_path)) == 0
        assert db.set("k", "parent's")
        assert db.get("k") == b"parent's"


def test_a_raw_child_writes_for_itself_and_is_announced(store_path: Path) -> None:
    with BlockingFerroKV.open(store_path) as db:
        db.set("n", 0)

        def work() -> bool:
            for _ in range(20):
                db.incr("n")
            return [process.pid for process in db.stats().processes] == [os.getppid()]

        assert [raw_child(work) for _ in range(3)] == [0] * 3
        assert db.get("n") == b"60"
        assert db.stats().processes == ()


def test_a_raw_child_of_a_raw_child_and_a_forked_one_of_both(store_path: Path) -> None:
    with BlockingFerroKV.open(store_path) as db:
        db.set("n", 0)

        def told() -> bool:
            pid = os.fork()
            if pid == 0:
                leave_with(lambda: 0 if db.incr("n") else 1)
            return os.waitpid(pid, 0)[1] == 0

        def work() -> bool:
            db.incr("n")
            return raw_child(lambda: bool(db.incr("n")) and told()) == 0 and raw_child(lambda: told()) == 0

        assert raw_child(work) == 0
        assert db.get("n") == b"4"


def hold(lock: Any, held: threading.Event, done: threading.Event) -> None:
    with lock:
        held.set()
        done.wait(30)


@pytest.mark.parametrize("name", CALLS)
def test_no_call_waits_for_a_thread_that_only_the_parent_has(tmp_path: Path, name: str) -> None:
    """Another thread of the parent holds every lock that there is when it forks."""
    db = BlockingFerroKV.open(tmp_path / "store")
    db.set("old", "v")
    db.flush()
    db.set("k", "v")
    made = db._store
    every = [
        registry._lock,
        registry._counting,
        reader._exchanging,
        store._reviving,
        lock_files.fork_gate,
        made.engine.lock,
        made._pool_lock,
        made._writer._turn,
        made._writer._gate,
        made._background._gate,
        made.engine.view.active._lock,
    ]
    done = threading.Event()
    held = [threading.Event() for _ in every]
    holders = [threading.Thread(target=hold, args=(lock, event, done)) for lock, event in zip(every, held, strict=True)]
    for holder, event in zip(holders, held, strict=True):
        holder.start()
        assert event.wait(20)
    try:
        code = raw_child(lambda: CALLS[name](db, tmp_path))
    finally:
        done.set()
        for holder in holders:
            holder.join()
    assert code == 0
    db.close()


def test_what_the_parent_began_is_refused_in_a_raw_child(store_path: Path) -> None:
    with BlockingFerroKV.open(store_path) as db:
        for i in range(1000):
            db.set(f"k{i}", i)
        snapshot = db.snapshot()
        pages = db.scan()
        next(pages)
        deferral = db.deferral()

        def refused() -> bool:
            for use in (
                lambda: snapshot.get("k1"),
                lambda: list(snapshot.scan()),
                lambda: list(pages),
                lambda: db.within(deferral).set("k", 1),
            ):
                try:
                    use()
                except StoreClosed:
                    continue
                return False
            return True

        assert raw_child(refused) == 0
        assert snapshot.get("k1") == b"1"
        assert len(list(pages)) == 999
        snapshot.close()


def test_threads_of_a_raw_child_notice_together(store_path: Path) -> None:
    with BlockingFerroKV.open(store_path) as db:
        db.set("n", 0)

        def work() -> bool:
            barrier = threading.Barrier(8)
            failures: list[BaseException] = []

            def use(i: int) -> None:
                try:
                    barrier.wait()
                    assert db.get("n") is not None if i % 2 else db.incr("n")
                except BaseException as error:
                    failures.append(error)

            threads = [threading.Thread(target=use, args=(i,)) for i in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            return failures == []

        assert [raw_child(work) for _ in range(5)] == [0] * 5
        assert db.get("n") == b"20"


def test_a_raw_child_keeps_no_descriptor_and_frees_no_lock_of_its_parent(store_path: Path) -> None:
    with BlockingFerroKV.open(store_path) as db, Peer(store_path, busy_timeout=0.2) as peer:
        db.set("k", 1)
        held = db._store.storage._locks
        assert held.take(lock_files.Lock("write", 0))

        def give_up() -> bool:
            before = len(left_open(store_path))
            forks.notice()
            return before > 0 and left_open(store_path) == []

        assert raw_child(give_up) == 0
        with pytest.raises(Exception, match="did not release the write lock"):
            peer.call("set", "k", 2)
        db._store.engine.unlock_write()
        assert peer.call("set", "k", 3) is True


def test_a_raw_child_ends_although_its_parent_had_a_pool(store_path: Path, run_python: Any) -> None:
    """Threads of an executor that only the parent has would be waited for at the interpreter's end."""
    done = run_python(
        """
import ctypes, os, signal, sys
from ferrokv import BlockingFerroKV
db = BlockingFerroKV.open(sys.argv[1])
assert db._store.pool.submit(os.getpid).result() == os.getpid()
pid = ctypes.PyDLL(None).fork()
if pid == 0:
    signal.alarm(20)
    db.set("child", "was here")
    sys.exit(5)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
print(db.get("child"))
""",
        str(store_path),
    )
    assert done.stdout.split("\n")[:2] == ["5", "b'was here'"], done.stderr
    assert done.returncode == 0, done.stderr


def test_a_raw_child_that_ends_without_a_call_leaves_its_parent_alone(store_path: Path, run_python: Any) -> None:
    done = run_python(
        """
import ctypes, os, signal, sys
from ferrokv import BlockingFerroKV
db = BlockingFerroKV.open(sys.argv[1])
db.set("k", "v" * 3_000_000)
pid = ctypes.PyDLL(None).fork()
if pid == 0:
    signal.alarm(20)
    sys.exit(5)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
print(sum(name.startswith("process-") for name in os.listdir(sys.argv[1])), db.set("k", "w"))
""",
        str(store_path),
    )
    assert done.stdout == "5\n1 True\n", done.stderr
    assert done.stderr == ""


def test_the_flag_is_down_in_any_child_and_up_in_the_parent() -> None:
    for flag in (flags.raise_flag(), flags.PidFlag()):
        assert flag[0] == 1
        assert raw_child(lambda flag=flag: flag[0] == 0) == 0
        assert flag[0] == 1
        flag[0] = 0
        assert flag[0] == 0


def test_without_pages_that_are_wiped_the_pid_is_asked_for(store_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flags, "WIPE_ON_FORK", 12345)  # which no kernel knows
    assert isinstance(flags.raise_flag(), flags.PidFlag)
    with BlockingFerroKV.open(store_path) as db:
        db.set("k", "v")
        assert raw_child(lambda: db.get("k") == b"v" and forks._known_pid == os.getpid()) == 0
