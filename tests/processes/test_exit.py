"""The end of the interpreter: handlers, daemon threads, first uses in it. And stores whose callers do all of the work."""

from __future__ import annotations

import fcntl
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ferrokv import BlockingFerroKV, FerroKV, StoreBusy, StoreClosed
from ferrokv.local.compaction.flush import flush
from ferrokv.local.engine.engine import Engine
from ferrokv.local.runtime import background, threads
from ferrokv.local.runtime import store as store_module
from ferrokv.local.storage.requests import Lock, Op

from ..engine.test_closing import announcements, left_open, store_threads, threads_of_other_tests  # noqa: F401 - a fixture
from ..support.peer import Peer
from .test_forks import raw_child

Run = Callable[..., Any]


def ended(run_python: Run, program: str, path: Path) -> str:
    """What a program printed; it has to end in order, without a word about errors, and to leave nothing."""
    done = run_python(program, str(path))
    assert done.stderr == ""
    assert done.returncode == 0
    assert announcements(path) == []
    return str(done.stdout)


def test_handlers_that_were_registered_before_the_first_use_find_the_store_open(
    store_path: Path, run_python: Run
) -> None:
    program = """
import atexit, sys
@atexit.register
def last():
    db.set("last", "written")
    db.incr("n")
    with db.snapshot() as snapshot:
        print(snapshot.get("last"), db.get("early"), db.flush(), db.compact(), db.verify().ok)
    with db.pipeline() as pipeline:
        print(pipeline.set("p", 1).get("p").execute())
    with db.lock("l"):
        print(db.lpush("list", 1), db.blpop("list", 1), db.blpop("list", 0.01))
from ferrokv import BlockingFerroKV
db = BlockingFerroKV.open(sys.argv[1])
atexit.register(lambda: db.set("early", "written"))
db.set("k", "v")
"""
    printed = ended(run_python, program, store_path).splitlines()
    assert printed == ["b'written' b'written' True True True", "[True, b'1']", "1 (b'list', b'1') None"]
    with BlockingFerroKV.open(store_path) as db:
        assert db.mget("last", "early", "k", "n") == [b"written", b"written", b"v", b"1"]


@pytest.mark.parametrize("closing", ["db.close()", "pass"])
def test_the_first_use_may_be_in_a_handler(store_path: Path, run_python: Run, closing: str) -> None:
    program = f"""
import atexit, sys
@atexit.register
def first():
    from ferrokv import BlockingFerroKV
    db = BlockingFerroKV.open(sys.argv[1], memtable_bytes=20_000)
    for i in range(300):
        db.set(f"k{{i}}", "v" * 300)
    print(db.get("k7"), sum(level.tables for level in db.stats().levels) > 0)
    {closing}
"""
    assert ended(run_python, program, store_path) == f"{b'v' * 300!r} True\n"
    with BlockingFerroKV.open(store_path) as db:
        assert db.get("k299") == b"v" * 300


def test_event_loops_in_handlers_work(store_path: Path, run_python: Run) -> None:
    program = """
import asyncio, atexit, sys
from ferrokv import FerroKV
async def use():
    async with FerroKV.open(sys.argv[1], block_cache_bytes=0, hot_cache_bytes=0) as db:
        await db.set("k", "v")
        await db.flush()
        print(await db.get("k"), await db.exists("k"), (await db.verify()).ok)
atexit.register(lambda: asyncio.run(use()))
"""
    assert ended(run_python, program, store_path) == "b'v' 1 True\n"


def test_daemon_threads_that_write_and_read_at_the_end_print_nothing(store_path: Path, run_python: Run) -> None:
    program = """
import atexit, os, sys, threading
from ferrokv import BlockingFerroKV
atexit.register(lambda: os.write(1, b"exit\\n") and threading.Event().wait(0.2))
db = BlockingFerroKV.open(sys.argv[1], memtable_bytes=20_000)
def write(name):
    i = 0
    while True:
        db.set(f"key:{name}:{i}", "v" * 50)
        os.write(1, b"%d %d\\n" % (name, i))
        i += 1
def read():
    while True:
        db.get("key:0:0"), db.exists("key:1:1"), next(db.scan(), None)
for name in range(3):
    threading.Thread(target=write, args=(name,), daemon=True).start()
threading.Thread(target=read, daemon=True).start()
threading.Event().wait(0.2)
"""
    for _ in range(3):
        lines = ended(run_python, program, store_path).splitlines()
        after = lines[lines.index("exit") + 1 :]
        assert after, "they went on while handlers ran"
        lines.remove("exit")
        with BlockingFerroKV.open(store_path) as db:
            for name, i in map(str.split, lines):
                assert db.get(f"key:{name}:{i}") is not None
            db.flushdb()


def test_writes_that_nobody_waits_for_are_done_before_the_end(store_path: Path, run_python: Run) -> None:
    program = """
import sys
from ferrokv import BlockingFerroKV
from ferrokv.local.commands import counters
db = BlockingFerroKV.open(sys.argv[1])
for _ in range(500):
    db._write_unawaited(counters.increment, b"n", 1, False)
"""
    ended(run_python, program, store_path)
    with BlockingFerroKV.open(store_path) as db:
        assert db.get("n") == b"500"


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in uWSGI without `enable-threads`."""
    monkeypatch.setitem(sys.modules, "uwsgi", SimpleNamespace(opt={"master": b"true"}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "answer"),
    [({}, False), ({"enable-threads": True}, True), ({b"threads": b"4"}, True), ({"threads": "1"}, False)],
)
def test_uwsgi_says_if_threads_run(monkeypatch: pytest.MonkeyPatch, options: dict[Any, Any], answer: bool) -> None:
    assert threads.may_run()
    monkeypatch.setitem(sys.modules, "uwsgi", SimpleNamespace(opt=options))  # type: ignore[arg-type]
    assert threads.may_run() is answer


@pytest.mark.parametrize(
    ("ids", "answer"), [((0, 0, 0), False), ((1, 0, 0), True), ((0, 1, 0), True), ((0, 0, True), True)]
)
def test_no_threads_run_where_uwsgi_forks_its_workers(
    monkeypatch: pytest.MonkeyPatch, ids: tuple[int, int, bool], answer: bool
) -> None:
    """A worker that is forked in C while another thread has the interpreter's lock never gets it."""
    names = ("worker_id", "mule_id", "i_am_the_spooler")
    asked = {name: lambda kind=kind: kind for name, kind in zip(names, ids, strict=True)}
    server = SimpleNamespace(opt={"enable-threads": True, "master": True}, **asked)
    monkeypatch.setitem(sys.modules, "uwsgi", server)  # type: ignore[arg-type]
    assert threads.may_run() is answer
    del server.opt["master"]
    assert threads.may_run(), "a single process that serves the requests itself"
    server.numproc = 2
    assert threads.may_run() is answer, "the first one forks the others"


@pytest.mark.usefixtures("no_threads")
def test_without_threads_callers_flush_and_compact_and_hold_nothing_in_between(store_path: Path) -> None:
    with BlockingFerroKV.open(store_path, memtable_bytes=20_000, level0_tables=2) as db, Peer(store_path) as peer:
        peer.call("set", "k", "v")
        locks = peer.call
        for i in range(600):
            db.set(f"k{i % 100}", "v" * 500)
            assert len(db._store.engine.view.sealed) <= 4
        stats = db.stats()
        assert stats.flushes > 5
        assert store_threads() == []
        assert stats.levels[0].tables < 8
        assert locks("flush") is True  # nothing is held
        assert db.get("k7") == b"v" * 500
        assert db.flush()
        assert db.compact()
        assert sum(level.tables for level in db.stats().levels[:1]) == 0
    assert left_open(store_path) == []


@pytest.mark.usefixtures("no_threads")
def test_without_threads_a_busy_compactor_elsewhere_is_waited_for(store_path: Path) -> None:
    """Room that another process makes is seen; that it makes none is an error by name."""
    with BlockingFerroKV.open(store_path, memtable_bytes=4_000, busy_timeout=0.5) as db, Peer(store_path) as peer:
        peer.call("set", "k", "v")
        other = os.open(store_path / "compact.lock", os.O_RDWR)
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(StoreBusy, match="waiting for flushes or compaction"):
            write_much(db)
        os.close(other)
        assert db.set("k", "w")


def write_much(db: BlockingFerroKV) -> None:
    for _ in range(100):
        db.set("k", "v" * 1000)


@pytest.mark.usefixtures("no_threads")
def test_without_threads_many_threads_of_the_caller_share_the_work(store_path: Path) -> None:
    with BlockingFerroKV.open(store_path, memtable_bytes=20_000) as db:

        def write(name: int) -> None:
            for i in range(100):
                db.set(f"{name}:{i}", "v" * 500)
                db.incr("n")

        writers = [threading.Thread(target=write, args=(name,)) for name in range(6)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        assert db.get("n") == b"600"
        assert len(list(db.scan())) == 601


@pytest.mark.usefixtures("no_threads")
@pytest.mark.parametrize("ending", ["close", "exit"])
def test_a_caller_who_flushes_is_waited_for_at_the_end(
    store_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    """The compact lock keeps processes from each other, but not the threads of one: two edits would overwrite each other."""
    inside, go_on = threading.Event(), threading.Event()
    order: list[str] = []

    def slow_flush(engine: Engine) -> Op[None]:
        inside.set()
        go_on.wait(20)
        yield from flush(engine)
        order.append("the caller")

    def last_flush(engine: Engine) -> Op[None]:
        order.append("the end")
        yield from flush(engine)

    monkeypatch.setattr(background, "flush", slow_flush)
    monkeypatch.setattr(store_module, "flush", last_flush)
    db = BlockingFerroKV.open(store_path, memtable_bytes=40_000)
    for i in range(20):
        db.set(f"k{i}", "v" * 1000)

    def flush_until_the_end() -> None:
        with suppress(StoreClosed):
            db.flush()

    caller = threading.Thread(target=flush_until_the_end)
    caller.start()
    assert inside.wait(20)
    for i in range(20, 40):
        db.set(f"k{i}", "v" * 1000)
    # At the exit the caller may have begun when the threads had ended.
    end = threading.Thread(target=db.close if ending == "close" else db._store._flush_at_exit)
    end.start()
    end.join(0.2)
    assert order == []
    go_on.set()
    end.join()
    caller.join()
    assert order[-1] == "the end"
    db.close()
    with BlockingFerroKV.open(store_path) as db:
        assert db.mget(*(f"k{i}" for i in range(40))) == [b"v" * 1000] * 40
        assert db.verify().ok


@pytest.mark.usefixtures("no_threads")
def test_the_exit_does_not_wait_for_who_waits_for_room(store_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such a writer has its turn until there is room, which it has to make itself."""
    monkeypatch.setattr(store_module, "EXIT_SECONDS", 0.05)
    inside, go_on = threading.Event(), threading.Event()
    with BlockingFerroKV.open(store_path, memtable_bytes=40_000) as db:
        for i in range(20):
            db.set(f"k{i}", "v" * 1000)
        store = db._store

        def wait_for_room() -> None:
            inside.set()
            go_on.wait(20)

        writer = threading.Thread(target=store._writer.exclusively, args=(wait_for_room, 20))
        writer.start()
        assert inside.wait(20)
        store._flush_at_exit()
        assert db.stats().flushes == 0
        go_on.set()
        writer.join()
        store._flush_at_exit()
        assert db.stats().flushes == 1


@pytest.mark.usefixtures("no_threads")
def test_a_signal_handler_can_not_flush_or_close_in_the_middle_of_a_flush(
    store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    met: list[str] = []

    def interrupted_flush(engine: Engine) -> Op[None]:
        for call in (db.flush, db.compact, db.close):
            with pytest.raises(StoreBusy, match="signal handler"):
                call()
            met.append(call.__name__)
        yield from flush(engine)

    monkeypatch.setattr(background, "flush", interrupted_flush)
    with BlockingFerroKV.open(store_path) as db:
        db.set("k", "v")
        assert db.flush()
        assert met == ["flush", "compact", "close"]
        assert db.get("k") == b"v"
    assert left_open(store_path) == []


@pytest.mark.usefixtures("no_threads")
async def test_without_threads_event_loops_work_too(store_path: Path) -> None:
    async with FerroKV.open(store_path, block_cache_bytes=0, hot_cache_bytes=0) as db:
        await db.set("k", "v")
        assert await db.flush()
        assert await db.get("k") == b"v"
        assert await db.incr("n") == 1
    assert left_open(store_path) == []


@pytest.mark.usefixtures("no_threads")
def test_a_raw_child_without_threads_works(store_path: Path) -> None:
    with BlockingFerroKV.open(store_path) as db:
        db.set("n", 0)
        assert raw_child(lambda: db.incr("n") == 1 and db.flush() and store_threads() == []) == 0
        assert db.get("n") == b"1"


@pytest.mark.usefixtures("no_threads")
def test_a_slice_that_is_too_short_is_given_up_and_the_next_is_longer(
    store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ferrokv.local.runtime.background.SLICE_SECONDS", 1e-9)
    with BlockingFerroKV.open(store_path, memtable_bytes=30_000, level0_tables=2) as db:
        background = db._store._background
        lengths = set()
        for i in range(1500):
            db.set(f"k{i}", "v" * 20)
            lengths.add(background._slice_seconds)
        assert 2e-9 in lengths
        assert db._store.storage._locks.take(Lock("compact", 0)), "nothing is held"
        db._store.engine.unlock_compact()
        assert len(list(db.scan())) == 1500


def test_django_leaves_no_announcement_either(store_path: Path, run_python: Run) -> None:
    program = """
import sys
from django.conf import settings
settings.configure(CACHES={"default": {"BACKEND": "ferrokv.contrib.django.FerroKVCache", "LOCATION": sys.argv[1]}}, SECRET_KEY="s")
from django.core.cache import cache
cache.set("k", 1)
print(cache.get("k"))
"""
    assert ended(run_python, program, store_path) == "1\n"
