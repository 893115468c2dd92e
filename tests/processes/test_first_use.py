"""Handles that their constructor made open the store at their first use."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest

from ferrokv import BlockingFerroKV, DataError, FerroKV, StoreClosed, StorePathError, StoreReplaced
from ferrokv.local.faces import unopened
from ferrokv.local.runtime import registry

from ..engine.test_directories_that_change import until_replaced


def openings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that are opened from now on, one for each call."""
    paths: list[str] = []
    inner = registry.open_store

    def noted(path, options, **kwargs):
        paths.append(os.fspath(path))
        return inner(path, options, **kwargs)

    monkeypatch.setattr(unopened, "open_store", noted)
    return paths


def is_open(path: Path) -> bool:
    """True while this process has the store open."""
    return any(store.directory.path == os.path.realpath(path) for store in registry.opened())


async def until_closed(path: Path) -> None:
    """Wait for the thread that releases what nobody wanted any more."""
    async with asyncio.timeout(60):
        while is_open(path):
            await asyncio.sleep(0.001)


def test_nothing_is_touched_before_the_first_use(tmp_path: Path) -> None:
    handle = BlockingFerroKV(tmp_path / "s")
    assert not (tmp_path / "s").exists()
    assert handle.get("a") is None
    assert (tmp_path / "s").exists()
    handle.close()


@pytest.mark.parametrize(
    "use",
    [
        lambda db: db.get("a"),
        lambda db: db.set("a", 1),
        lambda db: db.mget(["a", "b"]),
        lambda db: db.incr("n"),
        lambda db: list(db.scan()),
        lambda db: db.transaction(lambda tx: tx.get("a")),
        lambda db: db.pipeline().set("a", 1).execute(),
        lambda db: db.lock("l").acquire(),
        lambda db: db.lock("l").locked(),
        lambda db: db.snapshot().close(),
        lambda db: db.deferral().settle(),
        lambda db: db.within(db.deferral()).get("a"),
        lambda db: db.stats(),
        lambda db: db.verify(),
        lambda db: db.flush(),
        lambda db: db.keyspaces(),
        lambda db: db.when_replaced(lambda: None),
        lambda db: db.changes("a"),
        lambda db: db.ready(),
        lambda db: db.blpop("a", timeout=0.01),
    ],
)
def test_any_use_is_a_first_use_for_threads(tmp_path: Path, use) -> None:
    with BlockingFerroKV(tmp_path) as db:
        use(db)
        assert db.set("k", 1)


async def _all(iterator):
    return [item async for item in iterator]


@pytest.mark.parametrize(
    "use",
    [
        lambda db: db.get("a"),
        lambda db: db.set("a", 1),
        lambda db: db.mget(["a", "b"]),
        lambda db: db.incr("n"),
        lambda db: _all(db.scan()),
        lambda db: _all(db.scan_iter()),
        lambda db: db.transaction(lambda tx: tx.get("a")),
        lambda db: db.pipeline().set("a", 1).execute(),
        lambda db: db.lock("l").acquire(),
        lambda db: db.lock("l").locked(),
        lambda db: db.verify(),
        lambda db: db.flush(),
        lambda db: db.keyspaces(),
        lambda db: db.ready(),
        lambda db: db.blpop("a", timeout=0.01),
    ],
)
async def test_any_use_that_waits_is_a_first_use_for_asyncio(tmp_path: Path, use) -> None:
    async with FerroKV(tmp_path) as db:
        await use(db)
        assert await db.set("k", 1)


@pytest.mark.parametrize(
    "use",
    [
        lambda db: db.snapshot(),
        lambda db: db.deferral(),
        lambda db: db.stats(),
        lambda db: db.changes("a"),
        lambda db: db.when_replaced(lambda: None),
    ],
)
async def test_what_cannot_wait_says_what_to_await(tmp_path: Path, use) -> None:
    async with FerroKV(tmp_path) as db:
        with pytest.raises(StoreClosed, match=r"await `ready\(\)`"):
            use(db)
        await db.ready()
        use(db)


async def test_tasks_open_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = openings(monkeypatch)
    async with FerroKV(tmp_path) as db:
        await asyncio.gather(*(db.incr("n") for _ in range(20)), *(db.get("n") for _ in range(20)))
        assert await db.get("n") == b"20"
    assert paths == [str(tmp_path)]


def test_threads_open_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = openings(monkeypatch)
    with BlockingFerroKV(tmp_path) as db:
        threads = [threading.Thread(target=db.incr, args=("n",)) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert db.get("n") == b"10"
    assert paths == [str(tmp_path)]


async def test_a_cancelled_first_use_leaves_the_opening_to_the_next(tmp_path: Path) -> None:
    async with FerroKV(tmp_path) as db:
        first = asyncio.ensure_future(db.get("a"))
        second = asyncio.ensure_future(db.set("a", 1))
        await asyncio.sleep(0)
        first.cancel()
        assert await second
        assert first.cancelled()
    await until_closed(tmp_path)


async def test_an_error_reaches_all_who_waited_and_the_next_use_tries_again(tmp_path: Path) -> None:
    target = tmp_path / "missing" / "s"
    async with FerroKV(target) as db:
        found = await asyncio.gather(*(db.get("a") for _ in range(5)), return_exceptions=True)
        assert [type(error) for error in found] == [StorePathError] * 5
        target.parent.mkdir()
        assert await db.get("a") is None


async def test_closing_while_opening_keeps_no_store(tmp_path: Path) -> None:
    db = FerroKV(tmp_path)
    opening = asyncio.ensure_future(db.set("a", 1))
    await asyncio.sleep(0)
    await db.close()
    with pytest.raises(StoreClosed):
        await opening
    await until_closed(tmp_path)


def test_a_handle_closed_before_its_first_use_touches_nothing(tmp_path: Path) -> None:
    db = BlockingFerroKV(tmp_path / "s")
    db.close()
    with pytest.raises(StoreClosed):
        db.get("a")
    with pytest.raises(StoreClosed):
        db.keyspace("other")
    assert not (tmp_path / "s").exists()


def test_the_path_counts_from_the_directory_of_its_making(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    db = BlockingFerroKV("s")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    db.set("a", 1)
    db.close()
    assert (tmp_path / "s").is_dir()


def test_wrong_arguments_are_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="unknown option"):
        BlockingFerroKV(tmp_path, colour=1)  # type: ignore[call-arg]
    with pytest.raises(DataError, match="quota"):
        FerroKV(tmp_path, max_bytes=0)
    with pytest.raises(DataError, match="read-only"):
        FerroKV(tmp_path, max_bytes=1 << 20, read_only=True)
    with pytest.raises(DataError, match="keyspace"):
        FerroKV(tmp_path, keyspace="")


def test_the_quota_is_set_by_the_first_use_and_only_if_it_differs(tmp_path: Path) -> None:
    with BlockingFerroKV(tmp_path, keyspace="c", max_bytes=1 << 20) as db:
        assert db.ready().stats().quotas == {"c": 1 << 20}
        before = db.stats().wal_bytes
        with BlockingFerroKV(tmp_path, keyspace="c", max_bytes=1 << 20) as again:
            assert again.ready().stats().wal_bytes == before
        with BlockingFerroKV(tmp_path, keyspace="c", max_bytes=None) as unlimited:
            assert unlimited.ready().stats().quotas == {}


def test_another_keyspace_opens_at_its_own_first_use(tmp_path: Path) -> None:
    with BlockingFerroKV(tmp_path, max_bytes=1 << 20) as db, db.keyspace("other") as other:
        other.set("a", 1)
        assert other.stats().quotas == {}  # it has not been used
        assert db.get("a") is None
        assert db.stats().quotas == {"default": 1 << 20}
    assert not is_open(tmp_path)


def test_a_replaced_directory_is_opened_anew(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with BlockingFerroKV(path) as db, BlockingFerroKV.open(path) as fixed:
        db.set("a", 1)
        path.rename(tmp_path / "moved")
        path.mkdir()
        until_replaced(lambda: fixed.get("a"))
        assert db.get("a") is None
        assert db.set("a", 3)
        with pytest.raises(StoreReplaced):
            fixed.get("a")


async def test_a_replaced_directory_is_opened_anew_by_asyncio(tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with FerroKV(path) as db, FerroKV.open(path) as fixed:
        await db.set("a", 1)
        path.rename(tmp_path / "moved")
        path.mkdir()
        await asyncio.to_thread(until_replaced, lambda: asyncio.run(fixed.get("a")))
        assert await db.get("a") is None
        assert await db.set("a", 3)


def test_a_forked_child_opens_for_itself(tmp_path: Path) -> None:
    db = BlockingFerroKV(tmp_path)
    pid = os.fork()
    if pid == 0:  # pragma: no cover - in the child
        code = 1
        try:
            code = 0 if db.incr("n") == 1 else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert db.incr("n") == 2
    db.close()


def test_a_store_that_is_given_up_while_it_opens_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the opening and its arrival in the handle, another opening found another directory."""
    path, openings = tmp_path / "s", []
    inner = registry.open_store

    def replaced_meanwhile(*args, **kwargs):
        store = inner(*args, **kwargs)
        openings.append(store)
        if len(openings) == 1:
            path.rename(tmp_path / "moved")
            BlockingFerroKV.open(path).close()  # finds the other directory, and retires the first store
        return store

    monkeypatch.setattr(unopened, "open_store", replaced_meanwhile)
    with BlockingFerroKV(path) as db:
        assert db.set("a", 1)
        assert db.get("a") == b"1"
    assert len(openings) == 2


async def test_a_store_that_is_given_up_while_it_opens_is_opened_again_by_asyncio(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, openings = tmp_path / "s", []
    inner = registry.open_store

    def replaced_meanwhile(*args, **kwargs):
        store = inner(*args, **kwargs)
        openings.append(store)
        if len(openings) == 1:
            path.rename(tmp_path / "moved")
            BlockingFerroKV.open(path).close()
        return store

    monkeypatch.setattr(unopened, "open_store", replaced_meanwhile)
    async with FerroKV(path) as db:
        assert await db.set("a", 1)
        assert await db.get("a") == b"1"
    assert len(openings) == 2


def test_a_closed_handle_is_forgotten(tmp_path: Path) -> None:
    with BlockingFerroKV(tmp_path) as db:
        for _ in range(20):
            with db.keyspace("k") as other:
                other.get("a")
        assert len(db._store.reopening) == 1
        assert db._store.on_replaced == []


async def test_what_cannot_wait_says_that_the_directory_was_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with FerroKV(path) as db, FerroKV.open(path) as fixed:
        await db.set("a", 1)
        path.rename(tmp_path / "moved")
        path.mkdir()
        await asyncio.to_thread(until_replaced, lambda: asyncio.run(fixed.get("a")))
        with pytest.raises(StoreReplaced, match="ready"):
            db.snapshot()
        await db.ready()
        db.snapshot().close()


async def test_a_coroutine_that_is_closed_while_it_opens_keeps_no_store(tmp_path: Path) -> None:
    db = FerroKV(tmp_path)
    opening = db.set("a", 1)
    opening.send(None)
    opening.close()
    await until_closed(tmp_path)
    await db.close()
