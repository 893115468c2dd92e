"""What could not be written is not forgotten: locks, mutexes and sessions can be released or saved a second time."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ferrokv import (
    BlockingFerroKV,
    BlockingLock,
    FerroKV,
    FerroKVError,
    LockError,
    LockNotOwnedError,
    StoreBusy,
    StoreFull,
    StoreUncertain,
    WriteBatch,
)
from ferrokv.local.storage.local import LocalStorage
from ferrokv.local.storage.requests import Allocate, Open, Rename

from ..support.small_disks import CAPACITY, OPTIONS, VALUE, eventually, fill, small_disk

IMPATIENT = {"busy_timeout": 0.05}


@contextmanager
def kept_by_another(directory: Path, role: str) -> Iterator[None]:
    """A process that has stopped keeps the lock of a role: a descriptor of its own is as good as a process."""
    fd = os.open(directory / f"{role}.lock", os.O_RDWR)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


@contextmanager
def no_room_at_all(db: BlockingFerroKV) -> Iterator[None]:
    """Not even for a deletion: the WAL is full, and no file can be made, nor one of the reserve be used."""
    perform = LocalStorage.perform

    def full(self: LocalStorage, request: Any) -> Any:
        if isinstance(request, Allocate | Rename) or (isinstance(request, Open) and request.create):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "disk")
        return perform(self, request)

    wal = db._store.engine.wal
    allocated, wal.allocated = wal.allocated, 0
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(LocalStorage, "perform", full)
            yield
    finally:
        wal.allocated = allocated


@pytest.fixture
def db(store_path: Path) -> Iterator[BlockingFerroKV]:
    with BlockingFerroKV.open(store_path, **IMPATIENT) as handle:
        yield handle


def test_a_lock_whose_release_was_refused_is_released_by_a_second_call(db: BlockingFerroKV, store_path: Path) -> None:
    lock = db.lock("l")
    assert lock.acquire()
    token = lock.token
    with kept_by_another(store_path, "write"), pytest.raises(StoreBusy):
        lock.release()
    assert lock.token == token
    lock.release()
    assert db.get("l") is None
    assert lock.token is None
    with pytest.raises(LockError, match="unlocked"):
        lock.release()


def test_a_second_call_that_is_refused_leaves_a_third(db: BlockingFerroKV, store_path: Path) -> None:
    lock = db.lock("l", thread_local=False)
    assert lock.acquire()
    with kept_by_another(store_path, "write"):
        for _ in range(3):
            with pytest.raises(StoreBusy):
                lock.release()
            assert lock.owned()
    lock.release()
    assert not lock.locked()


def test_an_uncertain_release_that_is_repeated_leaves_the_next_holder_alone(
    db: BlockingFerroKV, store_path: Path
) -> None:
    lock, other = db.lock("l"), db.lock("l")
    assert lock.acquire()
    with kept_by_another(store_path, "sync"), pytest.raises(StoreUncertain):
        lock.release()
    assert other.acquire(blocking_timeout=10), "it was applied"
    lock.release()
    assert other.owned()
    other.release()
    with pytest.raises(LockError):
        lock.release()


def test_a_lock_that_is_lost_is_told_by_the_first_release_only(db: BlockingFerroKV, store_path: Path) -> None:
    lock = db.lock("l")
    assert lock.acquire()
    db.delete("l")
    with kept_by_another(store_path, "write"), pytest.raises(StoreBusy):
        lock.release()
    lock.release()
    assert lock.acquire()
    db.delete("l")
    with pytest.raises(LockNotOwnedError):
        lock.release()


def test_the_object_whose_release_failed_can_acquire_again(db: BlockingFerroKV, store_path: Path) -> None:
    lock = db.lock("l")
    with kept_by_another(store_path, "write"), pytest.raises(StoreBusy):  # nothing is left of an acquiring that failed
        lock.acquire()
    assert lock.acquire()
    with _unreleased(lock, store_path):
        assert db.lock("l").acquire(blocking=False) is False
        assert lock.acquire(blocking=False), "taken over from itself"
        assert lock.owned()
    lock.release()
    assert not lock.locked()


@contextmanager
def _unreleased(lock: BlockingLock, directory: Path) -> Iterator[None]:
    """The lock, of which the first release failed, and so did the one that nobody waits for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BlockingFerroKV, "_write_unawaited", lambda self, command, *args: None)
        with kept_by_another(directory, "write"), pytest.raises(StoreBusy):
            lock.release()
    yield


async def test_a_lock_of_asyncio_is_released_by_a_second_call(store_path: Path) -> None:
    async with await FerroKV.open(store_path, **IMPATIENT) as kv:
        lock = kv.lock("l")
        with kept_by_another(store_path, "write"), pytest.raises(StoreBusy):
            await lock.acquire()
        assert await lock.acquire()
        with kept_by_another(store_path, "write"), pytest.raises(StoreBusy):
            await lock.release()
        await lock.release()
        assert not await kv.exists("l")
        for _ in range(20):
            assert await lock.acquire()
            releasing = asyncio.create_task(lock.release())
            await asyncio.sleep(0)
            releasing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await releasing
            await lock.release()
            assert not await kv.exists("l")


def test_a_lock_is_released_on_a_disk_that_has_no_room_for_what_was_gathered_before(tmp_path: Path) -> None:
    """A deferral writes the release together with the rest; alone it deletes, and has its place in the reserve."""
    with (
        small_disk("limited", tmp_path / "disk", CAPACITY) as disk,
        BlockingFerroKV.open(tmp_path / "disk" / "store", **OPTIONS) as db,
    ):
        deferral = db.deferral()
        within = db.within(deferral)
        lock = within.lock("l")
        assert lock.acquire()
        deferral.settle()
        fill(db, disk)
        assert within.write(WriteBatch().set("gathered", VALUE))
        lock.release()
        with pytest.raises(StoreFull):
            deferral.settle()
        assert db.get("l") is None


def test_a_lock_that_not_even_the_reserve_can_free_is_freed_when_there_is_room(db: BlockingFerroKV) -> None:
    lock = db.lock("l")
    with no_room_at_all(db), pytest.raises(StoreFull), lock:
        pytest.fail("it was not to be had")
    assert lock.acquire()
    with no_room_at_all(db), pytest.raises(StoreFull):
        lock.release()
    assert lock.token is not None
    eventually(lock.release)
    assert not db.exists("l")


def test_dogpile_takes_a_mutex_again_that_it_could_not_release(store_path: Path) -> None:
    from ferrokv.contrib.dogpile import FerroKVBackend

    backend = FerroKVBackend({"path": store_path, **IMPATIENT})
    mutex = backend.get_mutex("k")
    assert mutex.acquire()
    lock = mutex._lock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(lock._asking), "_write_unawaited", lambda self, command, *args: None)
        with kept_by_another(store_path, "write"), pytest.raises(StoreBusy):
            mutex.release()
    del mutex, lock
    again = backend.get_mutex("k")
    assert again.acquire(wait=False)
    assert backend.get_mutex("k") is not again, "it is like any other now"
    assert backend.get_mutex("k").acquire(wait=False) is False
    again.release()
    assert backend.get_mutex("k").acquire(wait=False)


async def test_a_red_lock_whose_taking_is_uncertain_is_taken_back(store_path: Path) -> None:
    from aiocache.lock import RedLock

    from ferrokv.contrib.aiocache import FerroKVCache

    cache = FerroKVCache(str(store_path), **IMPATIENT)
    try:
        await cache.set("warm", 1)
        with kept_by_another(store_path, "sync"), pytest.raises(StoreUncertain):
            await RedLock(cache, "k", lease=1000).__aenter__()
        async with asyncio.timeout(10):
            await cache.set("behind", 1)  # its sync shows what was appended
            while await cache.raw("keys", "*-lock"):
                await cache.set("behind", 1)
    finally:
        await cache.close()


def test_a_session_that_could_not_be_made_is_made_by_the_next_save(store_path: Path) -> None:
    from ferrokv.contrib.django.sessions import SessionStore

    from ..support.django_setup import configured

    with configured(store_path, dict(IMPATIENT)):
        SessionStore().save()
        session = SessionStore()
        session["a"] = 1
        with kept_by_another(store_path, "write"), pytest.raises(FerroKVError):
            session.save()
        assert session.session_key is None
        session.save()
        key = session.session_key
        assert SessionStore(key)["a"] == 1
        with kept_by_another(store_path, "write"), pytest.raises(FerroKVError):
            session.cycle_key()
        assert session.session_key == key
        session.cycle_key()
        assert SessionStore(session.session_key)["a"] == 1
        assert not SessionStore().exists(key)
