"""Whatever the operating system says, a public call raises an error of ferrokv's that names it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ferrokv import BlockingFerroKV, CorruptionError, FerroKV, FerroKVError, StoreBusy, StorePathError
from ferrokv.local.storage import lock_files
from ferrokv.local.storage.requests import ReadAt

UNCACHED = {"block_cache_bytes": 0, "hot_cache_bytes": 0}


@pytest.fixture
def cold(store_path: Path) -> Path:
    """A store whose records are all in tables, and in no memory."""
    with BlockingFerroKV.open(store_path) as db:
        db.set("string", "1")
        db.hset("hash", "field", "1")
        db.flush()
    return store_path


def failing(code: int) -> Callable[[ReadAt], None]:
    def fail(request: ReadAt) -> None:
        raise OSError(code, os.strerror(code), request.file.name)

    return fail


# A failed read of a table's block is damage of that table, unless the failure says nothing of the file.
READS: list[tuple[int, type[FerroKVError], str]] = [
    (errno.EIO, CorruptionError, "cannot be read"),
    (errno.ENOMEM, StorePathError, "reading failed"),
    (errno.EMFILE, StoreBusy, "no free file descriptor"),
]


CALLS: list[Callable[[Any], Any]] = [
    lambda db: db.get("string"),
    lambda db: db.mget("string", "other"),
    lambda db: db.hget("hash", "field"),
    lambda db: db.hgetall("hash"),
    lambda db: db.incr("string"),
    lambda db: db.append("string", "2"),
    lambda db: db.delete("string"),
    lambda db: db.pipeline().get("string").execute(),
]


@pytest.mark.parametrize(("code", "name", "words"), READS)
@pytest.mark.parametrize("call", CALLS)
def test_a_block_that_can_not_be_read_is_named(
    cold: Path, call: Callable[[Any], Any], code: int, name: type[FerroKVError], words: str
) -> None:
    with BlockingFerroKV.open(cold, **UNCACHED) as db:
        db._store.storage._actions[ReadAt] = failing(code)
        with pytest.raises(name, match=words) as met:
            call(db)
        if name is CorruptionError:
            assert "table-" in str(met.value)
        db._store.storage._actions[ReadAt] = db._store.storage._read
        assert db.get("string") == b"1"


@pytest.mark.parametrize(("code", "name", "words"), READS)
async def test_the_asynchronous_face_names_it_too(
    cold: Path, monkeypatch: pytest.MonkeyPatch, code: int, name: type[FerroKVError], words: str
) -> None:
    async with await FerroKV.open(cold, **UNCACHED) as kv:
        storage = kv._store.storage
        monkeypatch.setattr(storage, "read_if_cached", lambda request: None)
        monkeypatch.setitem(storage._actions, ReadAt, failing(code))
        with pytest.raises(name, match=words):
            await kv.get("string")
        with pytest.raises(name, match=words):
            await kv.hgetall("hash")
        with pytest.raises(name):
            await kv.incr("string")
        with pytest.raises(name):
            await anext(aiter(kv.scan()))


def test_locks_that_the_system_refuses_are_named(store_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(fd: int, how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    with monkeypatch.context() as patch:
        patch.setattr(lock_files, "flock", refuse)
        with pytest.raises(FerroKVError, match="No locks available"):
            BlockingFerroKV.open(store_path)
    with BlockingFerroKV.open(store_path) as db, BlockingFerroKV.open(store_path):
        (store_path / f"process-{'0' * 16}.lock").touch()  # somebody to be asked about
        with monkeypatch.context() as patch:
            patch.setattr(lock_files, "flock", refuse)
            with pytest.raises(StorePathError, match="it cannot be seen"):
                db.stats()
        assert db.stats().path


def test_a_directory_whose_name_could_not_be_synced_is_synced_by_the_next_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a power cut takes the whole store, acknowledged writes and all."""
    synced: list[int] = []
    fail = True
    fsync = os.fsync

    def noting(fd: int) -> None:
        inode = os.fstat(fd).st_ino
        if inode == tmp_path.stat().st_ino:
            if fail:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            synced.append(inode)
        fsync(fd)

    monkeypatch.setattr(os, "fsync", noting)
    for _ in range(2):
        with pytest.raises(StorePathError, match="cannot be made durable"):
            BlockingFerroKV.open(tmp_path / "store")
    fail = False
    with BlockingFerroKV.open(tmp_path / "store") as db:
        assert len(synced) == 1
        db.set("a", "1")
    with BlockingFerroKV.open(tmp_path / "store"):
        assert len(synced) == 1, "a store has its name"
