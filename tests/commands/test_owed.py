"""Releases that could not be written when they were asked for: they are owed, and done as soon as they can be."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ferrokv import BlockingFerroKV, FerroKV, StoreBusy, StoreFull
from ferrokv.local.runtime import directory_watch as lookout
from ferrokv.local.runtime import owed_releases as owed
from ferrokv.local.storage.local import LocalStorage
from ferrokv.local.storage.requests import Open, Rename, Request, WriteAt

from ..support.small_disks import until


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookout, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr("ferrokv.local.runtime.background.LOOK_SECONDS", 0.01)


class FullDisk:
    """No room for a single byte, not even in the reserve, while `is_full`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_full = False
        perform = LocalStorage.perform

        def refuse(storage: LocalStorage, request: Request) -> Any:
            makes = isinstance(request, WriteAt | Rename) or (isinstance(request, Open) and request.create)
            if self.is_full and makes:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return perform(storage, request)

        monkeypatch.setattr(LocalStorage, "perform", refuse)


def test_a_release_that_finds_no_room_is_done_once_there_is_some(
    store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FullDisk(monkeypatch)
    with BlockingFerroKV.open(store_path) as db:
        lock = db.lock("l")
        assert lock.acquire()
        disk.is_full = True
        with pytest.raises(StoreFull):
            lock.release()
        assert db.lock("l").locked()
        with pytest.raises(StoreFull):
            lock.release()
        until(lambda: bool(db._store.owed_releases._late))
        disk.is_full = False
        until(lambda: not db.lock("l").locked())
        assert lock.acquire(blocking=False)
        lock.release()


async def test_a_release_by_a_task_that_finds_no_room_is_done_once_there_is_some(
    store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FullDisk(monkeypatch)
    async with FerroKV.open(store_path) as db:
        with pytest.raises(StoreFull):
            async with db.lock("l"):
                disk.is_full = True
        until(lambda: bool(db._store.owed_releases._late))
        disk.is_full = False
        assert await asyncio.wait_for(db.lock("l").acquire(), 60)


def test_a_release_that_finds_the_store_busy_is_done_when_it_is_not(store_path: Path) -> None:
    with BlockingFerroKV.open(store_path, busy_timeout=0.05) as db:
        lock = db.lock("l")
        lock.acquire()
        other = os.open(store_path / "write.lock", os.O_RDWR)
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(StoreBusy):
            lock.release()
        until(lambda: bool(db._store.owed_releases._late))
        os.close(other)
        until(lambda: not db.lock("l").locked())


@pytest.mark.parametrize("free", [lambda db: db.lock("l").acquire(), lambda db: db.lock("l", timeout=60).acquire()])
def test_who_waits_for_it_gets_it(
    store_path: Path, monkeypatch: pytest.MonkeyPatch, free: Callable[[BlockingFerroKV], bool]
) -> None:
    disk = FullDisk(monkeypatch)
    with BlockingFerroKV.open(store_path) as db:
        lock = db.lock("l")
        lock.acquire()
        disk.is_full = True
        with pytest.raises(StoreFull):
            lock.release()
        until(lambda: bool(db._store.owed_releases._late))
        disk.is_full = False
        assert free(db)


def test_what_is_owed_has_a_bound_and_ends_with_the_store(store_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owed, "OWED_MAX", 3)
    disk = FullDisk(monkeypatch)
    db = BlockingFerroKV.open(store_path)
    held = [db.lock(f"l{i}") for i in range(5)]
    for lock in held:
        lock.acquire()
    disk.is_full = True
    for lock in held:
        with pytest.raises(StoreFull):
            lock.release()
    assert len(db._store.owed_releases._late) <= 3
    disk.is_full = False
    db.close()
    with BlockingFerroKV.open(store_path) as db:
        assert [db.lock(f"l{i}").acquire(blocking=False) for i in range(5)] == [True] * 5
