"""Directories that are removed, replaced or overwritten under a living store: a named error soon, and a way back."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ferrokv import BlockingFerroKV, CorruptionError, FerroKV, StoreReplaced
from ferrokv.contrib.aiocache import FerroKVCache
from ferrokv.local.format import control

from ..processes.test_forks import raw_child
from ..support.django_setup import configured
from ..support.peer import Peer, PeerError
from .test_closing import announcements, left_open


def until_replaced(call: Callable[[], Any]) -> None:
    """Call until it raises `StoreReplaced`, as it has to within a second or two."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            call()
        except StoreReplaced:
            return
        except PeerError as error:
            if error.args[0] != "StoreReplaced":
                raise
            return
        time.sleep(0.01)
    raise AssertionError("nobody noticed")


def put_over(copy: Path, path: Path) -> None:
    """As `cp -a copy/. path/`, but without its moment in which the mapped page has no bytes, which would be a SIGBUS."""
    for source in copy.iterdir():
        fd = os.open(path / source.name, os.O_RDWR | os.O_CREAT, 0o600)
        data = source.read_bytes()
        os.pwrite(fd, data, 0)
        os.ftruncate(fd, len(data))
        os.close(fd)


def older_copy(path: Path, copy: Path) -> None:
    """A raw copy of a store with processes in it, after which the store goes on through several WALs."""
    with BlockingFerroKV.open(path) as db:
        db.set("k", "old")
        db.flush()
    shutil.copytree(path, copy)


def remove_and_make(path: Path) -> None:
    shutil.rmtree(path)
    with_new_data(path)


def with_new_data(path: Path) -> None:
    with Peer(path) as other:
        other.call("set", "k", "another store")
        other.end()


def exchange(path: Path) -> None:
    with_new_data(path.with_name("new"))
    path.rename(path.with_name("old"))
    path.with_name("new").rename(path)


@pytest.mark.parametrize("change", [shutil.rmtree, remove_and_make, exchange])
@pytest.mark.parametrize("kind", ["get", "set"])
def test_every_process_says_that_the_directory_is_gone_or_another(
    store_path: Path, change: Callable[[Path], None], kind: str
) -> None:
    with Peer(store_path) as peer:
        db = BlockingFerroKV.open(store_path)
        db.set("k", "v")
        assert peer.call("get", "k") == "v"
        change(store_path)
        arguments = ("k", "w") if kind == "set" else ("k",)
        if kind != "set":  # a write may find out by its sync, too
            until_replaced(lambda: getattr(db, kind)(*arguments))
            until_replaced(lambda: peer.call(kind, *arguments))
        until_replaced(lambda: db.get("k"))
        with pytest.raises(StoreReplaced):
            db.set("k", "w")
        with pytest.raises(StoreReplaced):
            db.scan().__next__()
        db.close()


@pytest.mark.parametrize("change", [remove_and_make, exchange])
def test_a_new_opening_finds_what_is_there_while_old_handles_live(
    store_path: Path, change: Callable[[Path], None]
) -> None:
    db = BlockingFerroKV.open(store_path)
    db.set("k", "v")
    change(store_path)
    with BlockingFerroKV.open(store_path) as again:
        assert again.get("k") == b"another store"
        with pytest.raises(StoreReplaced):
            db.get("k")
        with pytest.raises(StoreReplaced):
            db.keyspace("other")
        db.close()
        again.set("k", "w")
    assert announcements(store_path) == []
    assert left_open(store_path) == []


def test_an_older_copy_that_is_put_over_a_living_store_is_an_error_and_no_endless_loop(
    store_path: Path, tmp_path: Path
) -> None:
    older_copy(store_path, tmp_path / "copy")
    with Peer(store_path) as peer:
        db = BlockingFerroKV.open(store_path)
        for value in ("new", "newer"):
            db.set("k", value)
            db.flush()
        assert peer.call("get", "k") == "newer"
        put_over(tmp_path / "copy", store_path)
        until_replaced(lambda: db.get("k"))
        until_replaced(lambda: peer.call("get", "k"))
        with pytest.raises(PeerError, match="StoreReplaced"):
            peer.call("set", "k", "x")
        db.close()
        peer.end()
        # What is there now is a mixture of both. The copy in an empty directory is a store.
        shutil.rmtree(store_path)
        shutil.copytree(tmp_path / "copy", store_path)
        with BlockingFerroKV.open(store_path) as again:
            assert again.get("k") == b"old"
            again.set("k", "and on")


@pytest.mark.parametrize("names", [["CURRENT"], ["control"]])
def test_a_part_of_another_store_that_is_put_over_a_living_one_is_noticed(
    store_path: Path, tmp_path: Path, names: list[str]
) -> None:
    with BlockingFerroKV.open(tmp_path / "other") as other:
        other.set("k", "v")
    (tmp_path / "copy").mkdir()
    for name in names:
        shutil.copy(tmp_path / "other" / name, tmp_path / "copy")
    db = BlockingFerroKV.open(store_path)
    db.set("k", "v")
    put_over(tmp_path / "copy", store_path)
    until_replaced(lambda: db.get("k"))
    db.close()


def test_a_page_that_goes_back_is_told_at_the_next_call(db: BlockingFerroKV) -> None:
    db.set("k", "v")
    words = db._store.engine.words
    words[control.COMMIT] -= 8
    with pytest.raises(StoreReplaced, match="COMMIT went back"):
        db.get("k")


def test_a_renamed_directory_goes_on(store_path: Path) -> None:
    db = BlockingFerroKV.open(store_path)
    store_path.rename(store_path.with_name("renamed"))
    storage = db._store.storage
    assert storage.changed() is None
    db._store._background.lookout._next_at = 0.0
    db._store._background.wake()
    db.set("k", "v")
    db.flush()
    assert db.get("k") == b"v"
    db.close()


def test_those_who_asked_are_told_once(store_path: Path) -> None:
    told: list[str] = []
    db = BlockingFerroKV.open(store_path)
    db.set("k", "v")
    db.when_replaced(lambda: told.append("first"))
    db.when_replaced(lambda: told.append("second"))
    remove_and_make(store_path)
    until_replaced(lambda: db.get("k"))
    until_replaced(lambda: db.get("k"))
    assert told == ["first", "second"]
    db.close()


def until_found(get: Callable[[], Any], value: Any) -> None:
    """At most one kind of error before the value is found."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            if get() == value:
                return
        except StoreReplaced:
            continue
        time.sleep(0.01)
    raise AssertionError("the new directory was not opened")


def test_django_opens_the_new_directory_at_the_next_call(store_path: Path) -> None:
    with configured(store_path) as cache:
        cache.set("k", "v")
        assert cache.get("k") == "v"
        shutil.rmtree(store_path)
        until_found(lambda: cache.get("k"), None)
        cache.set("k", "new")
        assert cache.get("k") == "new"
        assert (store_path / "CURRENT").exists()


def test_django_opens_it_in_a_forked_child_too(store_path: Path) -> None:
    with configured(store_path) as cache:
        cache.set("k", "v")

        def work() -> bool:
            assert cache.get("k") == "v"
            shutil.rmtree(store_path)
            until_found(lambda: cache.get("k"), None)
            cache.set("k", "child's")
            return cache.get("k") == "child's"

        assert raw_child(work) == 0
        until_found(lambda: cache.get("k"), "child's")


async def test_aiocache_opens_it_too(store_path: Path) -> None:
    cache = FerroKVCache(store_path)
    await cache.set("k", "v")
    shutil.rmtree(store_path)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            if await cache.get("k") is None:
                break
        except StoreReplaced:
            continue
    await cache.set("k", "new")
    assert await cache.get("k") == "new"
    await cache.close()


async def test_event_loops_are_told_as_well(store_path: Path) -> None:
    db = await FerroKV.open(store_path)
    await db.set("k", "v")
    db._store.engine.give_up("for this test")
    with pytest.raises(StoreReplaced):
        await db.get("k")
    with pytest.raises(StoreReplaced):
        await db.set("k", "w")
    await db.close()


@pytest.mark.parametrize("ahead", [False, True])
def test_a_stale_page_does_not_keep_readers_out(store_path: Path, ahead: bool) -> None:
    """Of a moment before the other files, or, which means that something is missing, behind them."""
    with BlockingFerroKV.open(store_path) as db:
        db.set("k", "old")
        early = (store_path / "control").read_bytes()
        for value in ("new", "newer"):
            db.set("k", value)
            db.flush()
    if ahead:
        late = bytearray((store_path / "control").read_bytes())
        number, end = control.unpack_position(int.from_bytes(late[128:136], "little"))
        late[128:136] = control.pack_position(number + 1, end).to_bytes(8, "little")
        (store_path / "control").write_bytes(late)
        with pytest.raises(CorruptionError, match="missing"):
            BlockingFerroKV.open(store_path, read_only=True)
        with pytest.raises(CorruptionError, match="missing"):
            BlockingFerroKV.open(store_path)
        return
    (store_path / "control").write_bytes(early)
    with BlockingFerroKV.open(store_path, read_only=True) as reader:
        assert reader.get("k") == b"newer"
        with BlockingFerroKV.open(store_path) as writer:
            writer.set("k", "newest")
            assert reader.get("k") == b"newest"
