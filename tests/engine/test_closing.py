"""After `close()` nothing is left, whatever failed: no descriptor, no mapping, no lock, no announcement, no thread."""

from __future__ import annotations

import errno
import gc
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from ferrokv import BlockingFerroKV, CorruptionError, FerroKV, FerroKVError, StoreClosed, StoreFailed, StorePathError
from ferrokv.local.format.control import COMPACTOR
from ferrokv.local.storage import local
from ferrokv.local.storage.requests import ReadAt

from ..support.peer import Peer

FILE_CALLS = ("open", "unlink", "listdir", "scandir", "pread", "preadv", "pwrite", "fsync", "fdatasync", "rename")


@pytest.fixture(autouse=True)
def no_collector() -> Iterator[None]:
    """What is let go must not wait for the garbage collector."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def left_open(path: Path) -> list[str]:
    """Descriptors and mappings of files of the store in this process."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the listing's own descriptor
            found.append(os.readlink(f"/proc/self/fd/{name}"))
    found += [line.split(maxsplit=5)[-1] for line in Path("/proc/self/maps").read_text().splitlines()]
    return [name for name in found if name.startswith(str(path))]


_others: set[threading.Thread] = set()


@pytest.fixture(autouse=True)
def threads_of_other_tests() -> None:
    """Stores that earlier tests of this process left open have threads, too."""
    _others.clear()
    _others.update(threading.enumerate())


def store_threads() -> list[str]:
    """Names of the threads of stores that this test opened."""
    running = (thread for thread in threading.enumerate() if thread not in _others)
    return [thread.name for thread in running if thread.name.startswith("ferrokv")]


def announcements(path: Path) -> list[str]:
    return [name for name in os.listdir(path) if name.startswith("process-")]


def break_disk(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """Have every call on files fail, and every closing too, although that gives the descriptor back."""

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise OSError(code, os.strerror(code))

    close = os.close

    def close_and_fail(fd: int) -> None:
        close(fd)
        fail()

    for name in FILE_CALLS:
        monkeypatch.setattr(os, name, fail)
    monkeypatch.setattr(os, "close", close_and_fail)


def fill(db: BlockingFerroKV) -> None:
    """Records in tables, in a sealed memtable and in the WAL, some of them read."""
    for i in range(50):
        db.set(f"k{i}", "v" * 200)
    db.flush()
    db.set("k1", "new")
    assert db.get("k7") == b"v" * 200


def test_closing_leaves_nothing_open(store_path: Path) -> None:
    db = BlockingFerroKV.open(store_path)
    fill(db)
    assert left_open(store_path)
    db.close()
    assert left_open(store_path) == []
    assert announcements(store_path) == []
    assert store_threads() == []


async def test_closing_leaves_nothing_open_for_event_loops(store_path: Path) -> None:
    async with FerroKV.open(store_path) as db:
        await db.set("k", "v")
        await db.flush()
        assert await db.get("k") == b"v"
    assert left_open(store_path) == []
    assert store_threads() == []


def test_closing_a_reader_leaves_nothing_open(store_path: Path) -> None:
    with BlockingFerroKV.open(store_path) as db:
        fill(db)
    reader = BlockingFerroKV.open(store_path, read_only=True)
    assert reader.get("k1") == b"new"
    reader.close()
    assert left_open(store_path) == []


def test_an_open_snapshot_does_not_keep_the_files(store_path: Path) -> None:
    db = BlockingFerroKV.open(store_path)
    fill(db)
    snapshot = db.snapshot()
    pages = db.scan()
    next(pages)
    db.close()
    assert left_open(store_path) == []
    with pytest.raises(StoreClosed):
        snapshot.get("k7")
    with pytest.raises(StoreClosed):
        list(pages)
    snapshot.close()


@pytest.mark.parametrize("code", [errno.EIO, errno.EROFS])
@pytest.mark.parametrize("bytes_waiting", [0, 4000])
def test_closing_on_a_dead_disk_leaves_nothing_and_the_store_can_be_opened_again(
    store_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, bytes_waiting: int
) -> None:
    db = BlockingFerroKV.open(store_path, memtable_bytes=8_000)
    fill(db)
    db.set("waiting", "v" * bytes_waiting)  # what closing would flush
    with monkeypatch.context() as broken:
        break_disk(broken, code)
        db.close()
    assert left_open(store_path) == []
    assert store_threads() == []
    with BlockingFerroKV.open(store_path) as again:
        assert again.stats().failed is None
        assert again.get("k1") == b"new"
        assert again.set("k1", "newer")
        assert len(announcements(store_path)) == 1, "that of before has no lock, and is swept"


@pytest.mark.parametrize("code", [errno.EIO, errno.EROFS])
def test_after_a_failed_write_closing_and_reopening_name_the_true_reason(
    store_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    db = BlockingFerroKV.open(store_path)
    fill(db)
    with monkeypatch.context() as broken:
        break_disk(broken, code)
        with pytest.raises(StoreFailed, match=os.strerror(code)):
            db.set("k", "v")
        db.close()
        assert left_open_on_a_dead_disk(store_path, broken, code) == []
        with pytest.raises(StorePathError, match=os.strerror(code)):
            BlockingFerroKV.open(store_path)
    with BlockingFerroKV.open(store_path) as again:
        assert again.get("k1") == b"new"
        again.set("k", "v")


def left_open_on_a_dead_disk(path: Path, broken: pytest.MonkeyPatch, code: int) -> list[str]:
    """`left_open`, which needs the calls that are broken."""
    broken.undo()
    found = left_open(path)
    break_disk(broken, code)
    return found


def test_a_failing_close_of_a_descriptor_is_logged_and_nothing_else(
    store_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    db = BlockingFerroKV.open(store_path)
    db.set("k", "v")
    with monkeypatch.context() as broken, caplog.at_level(logging.WARNING):
        break_disk(broken, errno.EIO)
        db.close()
    assert "the lock file of this process could not be removed" in caplog.text
    assert "closing a descriptor failed" in caplog.text


def test_a_read_under_way_while_the_store_is_closed_is_refused_by_name(
    store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of its descriptor may have been given to another file before the bytes were read."""
    db = BlockingFerroKV.open(store_path)
    fill(db)
    table = next(name for name in os.listdir(store_path) if name.startswith("table"))
    storage = db._store.storage
    file = storage.perform(local.Open(table))
    pread = os.pread

    def close_first(fd: int, size: int, offset: int) -> bytes:
        monkeypatch.setattr(os, "pread", pread)
        db.close()
        other = os.open(os.devnull, os.O_RDONLY)
        os.dup2(other, fd)
        try:
            return os.pread(fd, size, offset)
        finally:
            os.close(fd)
            os.close(other)

    monkeypatch.setattr(os, "pread", close_first)
    with pytest.raises(StoreClosed):
        storage.perform(ReadAt(file, 0, 100))
    with pytest.raises(StoreClosed):
        storage.perform(ReadAt(file, 0, 100))
    with pytest.raises(StoreClosed):
        storage.perform(local.Open(table))


def test_threads_that_read_while_the_store_is_closed_see_values_or_a_named_error(store_path: Path) -> None:
    for _ in range(10):
        db = BlockingFerroKV.open(store_path, block_cache_bytes=0, hot_cache_bytes=0)
        fill(db)
        db.compact()
        begun = threading.Event()
        failures: list[BaseException] = []

        def read(
            db: BlockingFerroKV = db, begun: threading.Event = begun, failures: list[BaseException] = failures
        ) -> None:
            try:
                while True:
                    assert db.get("k7") == b"v" * 200
                    begun.set()
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=read) for _ in range(3)]
        for thread in threads:
            thread.start()
        assert begun.wait(20)
        db.close()
        for thread in threads:
            thread.join()
        assert [type(failure) for failure in failures] == [StoreClosed] * 3


def test_a_failed_opening_leaves_nothing(store_path: Path) -> None:
    with BlockingFerroKV.open(store_path) as db:
        fill(db)
    current = (store_path / "CURRENT").read_bytes()
    (store_path / "CURRENT").write_bytes(b"x" * 56)
    with pytest.raises(FerroKVError) as caught:
        BlockingFerroKV.open(store_path)
    assert caught.type is CorruptionError
    assert left_open(store_path) == []
    assert announcements(store_path) == []
    (store_path / "CURRENT").write_bytes(current)
    BlockingFerroKV.open(store_path).close()


def test_a_file_that_cannot_be_looked_at_is_closed(store_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with BlockingFerroKV.open(store_path) as db:
        storage = db._store.storage
        before = len(left_open(store_path))

        def fail(fd: int) -> Any:
            raise OSError(errno.EIO, "injected")

        with monkeypatch.context() as broken:
            broken.setattr(os, "fstat", fail)
            with pytest.raises(OSError, match="injected"):
                storage.perform(local.Open("CURRENT"))
        assert len(left_open(store_path)) == before


def test_stats_name_no_dead_compactor(store_path: Path) -> None:
    with BlockingFerroKV.open(store_path) as db, Peer(store_path) as peer:
        peer.call("set", "k", "v")
        words = db._store.engine.words
        words[COMPACTOR] = peer.pid
        assert db.stats().compactor_pid == peer.pid
        words[COMPACTOR] = os.getpid()
        assert db.stats().compactor_pid == os.getpid()
        words[COMPACTOR] = peer.pid
        peer.kill()
        assert db.stats().compactor_pid is None
