"""The life on a full disk with threads, processes and real files; its single steps are simulated in `test_full_disk.py`."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from ferrokv import BlockingFerroKV, FerroKV, StoreFull
from ferrokv.local.engine.spares import ALL_SPARES, SPARE_TABLE
from ferrokv.local.storage.directory import inspect_directory

from ..support.small_disks import CAPACITY, OPTIONS, VALUE, SmallDisk, eventually, fill, small_disk, until


@pytest.fixture(params=["limited", "tmpfs"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(request.param, tmp_path / "disk", CAPACITY) as made:
        yield made


@pytest.mark.parametrize("way", ["delete", "one by one", "flushdb"])
@pytest.mark.parametrize("reopened", [False, True])
def test_a_full_disk_is_read_and_emptied_and_then_takes_writes(disk: SmallDisk, way: str, reopened: bool) -> None:
    path = disk.path / "store"
    db = BlockingFerroKV.open(path, **OPTIONS)
    try:
        written = fill(db, disk)
        if reopened:
            db.close()
            db = BlockingFerroKV.open(path, **OPTIONS)
            disk.take_all()
        assert db.get(written[0]) == VALUE
        if way == "delete":
            assert db.delete(*written) == len(written)
        elif way == "flushdb":
            db.flushdb()
        else:
            for name in written:
                eventually(lambda name=name: db.delete(name))
        assert db.dbsize() == 0
        eventually(lambda: db.set("after", VALUE))
        assert db.verify().ok
    finally:
        db.close()
    with BlockingFerroKV.open(path, **OPTIONS) as again:
        assert again.dbsize() == 1


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
def test_no_removed_file_is_kept_open_on_a_full_disk(tmp_path: Path) -> None:
    """Its space would be missed. Errors know frames, which know views and files: they must not keep each other."""
    gc.collect()
    gc.disable()
    try:
        with (
            small_disk("limited", tmp_path / "disk", CAPACITY) as disk,
            BlockingFerroKV.open(disk.path, **OPTIONS) as db,
        ):
            written = fill(db, disk)
            db.delete(*written)
            eventually(lambda: db.set("after", VALUE))
            db.compact()
            kept = [name for name in _open_files() if name.endswith("(deleted)") and str(disk.path) in name]
            assert kept == []
    finally:
        gc.enable()


def _open_files() -> list[str]:
    found = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{fd}"))
        except FileNotFoundError:
            continue
    return found


async def test_deletions_in_one_group_with_other_writes_are_done(tmp_path: Path) -> None:
    with small_disk("limited", tmp_path / "disk", CAPACITY) as disk:
        with BlockingFerroKV.open(disk.path, **OPTIONS) as db:
            written = fill(db, disk)
        async with await FerroKV.open(disk.path, **OPTIONS) as kv:
            disk.take_all()  # or the background may find room in between
            with suppress(StoreFull):
                while True:
                    await kv.set("more", VALUE)
            calls = []
            for name in written[:40]:
                calls += [kv.set("new:" + name, VALUE), kv.delete(name)]
            answers = await asyncio.gather(*calls, return_exceptions=True)
            assert answers[1::2] == [1] * 40
            assert any(isinstance(answer, StoreFull) for answer in answers[::2])
            for name, answer in zip(written[:40], answers[::2], strict=True):
                assert await kv.get("new:" + name) == (None if isinstance(answer, StoreFull) else VALUE)


def test_the_reserve_is_made_by_the_first_opening(tmp_path: Path) -> None:
    with BlockingFerroKV.open(tmp_path / "store", **OPTIONS) as db:
        assert db.get("a") is None
        assert set(ALL_SPARES) <= set(os.listdir(tmp_path / "store"))


def test_inspect_directory_names_a_full_disk(tmp_path: Path) -> None:
    with small_disk("limited", tmp_path / "disk", CAPACITY) as disk:
        path = disk.path / "store"
        with BlockingFerroKV.open(path, **OPTIONS) as db:
            db.compact()
            report = inspect_directory(path)
            assert report.warning is None
            assert report.free_bytes is not None
        for name in ALL_SPARES:
            (path / name).unlink()
        report = inspect_directory(path)
        assert report.problem is None
        assert report.warning is not None
        assert "reserve" in report.warning


def test_a_site_on_a_full_disk_reads_deletes_and_logs_out(tmp_path: Path) -> None:
    from django.contrib.auth import SESSION_KEY

    from ferrokv.contrib.django.sessions import SessionStore

    from ..support.django_setup import configured

    with (
        small_disk("limited", tmp_path / "disk", 64 << 20) as disk,
        configured(disk.path / "store", {}) as cache,
    ):
        cache.set_many({"a": 1, "b": 2, "c": 3})
        sessions = [SessionStore() for _ in range(2)]
        for session in sessions:
            session[SESSION_KEY] = "7"
            session.save()
        keys = [session.session_key for session in sessions]
        until(lambda: SPARE_TABLE in os.listdir(disk.path / "store"))
        disk.take_all()
        with pytest.raises(StoreFull):
            cache.set_many({f"large:{i}": os.urandom(1 << 20) for i in range(9)})
        assert cache.get("a") == 1
        assert cache.delete("a") is True
        cache.delete_many(["b"])
        assert SessionStore(keys[0])[SESSION_KEY] == "7"
        sessions[0].flush()
        assert not SessionStore().exists(keys[0])
        assert SessionStore().exists(keys[1])
        cache.clear()
        assert cache.get("c") is None
        disk.give_back(4 << 20)  # what was deleted is too little for the whole reserve of a site
        eventually(lambda: cache.set("after", 1))
        assert cache.get("after") == 1
