"""Damage on disk: never a wrong value, never a silently missing one; and directories that can not serve."""

from __future__ import annotations

import os
import shutil
import struct
from pathlib import Path
from random import Random

import pytest

from ferrokv import (
    BlockingFerroKV,
    CorruptionError,
    DataError,
    StorePathError,
    UnsupportedFormat,
)
from ferrokv.local.format.checksums import checksum
from ferrokv.testing.simulated import Inode, SimulatedStorage

from ..support.harness import SCALE, EngineHarness, ManualClock


def build(seed: int) -> tuple[EngineHarness, list[dict[bytes, bytes]]]:
    """A store with tables on two levels and an unflushed WAL, closed cleanly; and every state that it went through."""
    random = Random(seed)
    store = EngineHarness(SimulatedStorage(seed), ManualClock())
    model: dict[bytes, bytes] = {}
    states = [dict(model)]
    for step in range(60):
        key = b"key:%02d" % random.randrange(20)
        model[key] = random.randbytes(random.randrange(1, 40))
        store.set(key, model[key])
        states.append(dict(model))
        if step in (20, 40):
            store.rotate()
            store.flush()
            if step == 20:
                store.compact(everything=True)
    return store, states


def copy_disk(storage: SimulatedStorage) -> SimulatedStorage:
    copy = SimulatedStorage(0)
    for name, inode in storage.machine.names.items():
        copy.machine.names[name] = Inode(bytearray(inode.content), bytearray(inode.content))
    copy.machine.durable_names = dict(copy.machine.names)
    return copy


def read_all(storage: SimulatedStorage, clock: ManualClock) -> dict[bytes, bytes]:
    """The state by scan, checked against point reads."""
    store = EngineHarness(storage, clock)
    found = dict(store.scan())
    for key in (b"key:%02d" % i for i in range(20)):
        assert store.get(key) == found.get(key)
    return found


@pytest.mark.parametrize("seed", range(3 * SCALE))
def test_a_flipped_bit_is_never_a_wrong_or_missing_value(seed: int) -> None:
    store, states = build(seed)
    random = Random(seed)
    newest_wal = max(name for name in store.storage.machine.names if name.startswith("wal"))
    refused = harmless = 0
    for name, inode in store.storage.machine.names.items():
        size = len(inode.content)
        for offset in sorted(random.sample(range(size), min(size, 250))):
            disk = copy_disk(store.storage)
            disk.machine.names[name].content[offset] ^= 1 << random.randrange(8)
            try:
                state = read_all(disk, store.clock)
            except (CorruptionError, UnsupportedFormat):
                refused += 1
            else:
                harmless += 1
                if name == newest_wal:
                    # The last frame has no follower that proves it was synced: it may pass for a torn tail.
                    assert state in states[-2:]
                else:
                    assert state == states[-1], (name, offset)
    assert refused > 100
    assert harmless > 0


@pytest.mark.parametrize("seed", range(2 * SCALE))
def test_a_truncated_or_missing_file_is_refused_or_harmless(seed: int) -> None:
    store, states = build(seed)
    newest_wal = max(name for name in store.storage.machine.names if name.startswith("wal"))
    for name, inode in store.storage.machine.names.items():
        for size in [None, *range(0, len(inode.content), 37)]:
            disk = copy_disk(store.storage)
            if size is None:
                del disk.machine.names[name]
            else:
                del disk.machine.names[name].content[size:]
            try:
                state = read_all(disk, store.clock)
            except (CorruptionError, UnsupportedFormat):
                continue
            if name == newest_wal:
                # Nothing but a control page of the same boot could tell; see the tests below.
                assert state in states
            else:
                assert state == states[-1], (name, size)


def test_two_tables_in_each_others_place_are_refused() -> None:
    store, _ = build(1)
    tables = sorted(name for name in store.storage.machine.names if name.startswith("table"))
    assert len(tables) >= 2
    disk = copy_disk(store.storage)
    disk.machine.names[tables[0]], disk.machine.names[tables[1]] = (
        disk.machine.names[tables[1]],
        disk.machine.names[tables[0]],
    )
    with pytest.raises(CorruptionError):
        read_all(disk, store.clock)


def test_a_damaged_frame_before_the_end_is_damage_and_not_a_torn_tail(store_path: Path) -> None:
    with BlockingFerroKV.open(store_path) as db:
        for i in range(10):
            db.set(f"key:{i}", "v" * 100)
    wal = max(store_path.glob("wal-*"))
    data = bytearray(wal.read_bytes())
    data[data.index(b"key:4")] ^= 1
    wal.write_bytes(data)
    with pytest.raises(CorruptionError, match=wal.name) as caught:
        BlockingFerroKV.open(store_path)
    assert caught.value.path == wal.name
    assert caught.value.offset is not None


def test_the_control_page_of_this_boot_proves_even_the_last_frame(store_path: Path) -> None:
    with BlockingFerroKV.open(store_path) as db:
        db.set("first", 1)
        db.set("last", 2)
    wal = max(store_path.glob("wal-*"))
    data = bytearray(wal.read_bytes())
    data[data.index(b"last")] ^= 1
    wal.write_bytes(data)
    with pytest.raises(CorruptionError, match="acknowledged"):
        BlockingFerroKV.open(store_path)
    (store_path / "control").unlink()
    with BlockingFerroKV.open(store_path) as db:
        assert db.mget("first", "last") == [b"1", None]


def test_the_control_page_of_this_boot_proves_that_a_wal_is_missing(store_path: Path) -> None:
    with BlockingFerroKV.open(store_path) as db:
        db.set("first", 1)
        db.flush()
        db.set("last", 2)
    max(store_path.glob("wal-*")).unlink()
    with pytest.raises(CorruptionError, match="missing"):
        BlockingFerroKV.open(store_path)


def test_a_damaged_block_raises_where_it_is_read_and_nowhere_else(store_path: Path) -> None:
    with BlockingFerroKV.open(store_path) as db:
        db.mset({f"key:{i:04}": "v" * 100 for i in range(1_000)})
        db.flush()
    table = next(store_path.glob("table-*"))
    data = bytearray(table.read_bytes())
    data[data.index(b"v" * 100, len(data) // 2)] ^= 1
    table.write_bytes(data)
    with BlockingFerroKV.open(store_path) as db:
        with pytest.raises(CorruptionError, match=table.name):
            db.mget([f"key:{i:04}" for i in range(1_000)])
        assert db.get("key:0000") == b"v" * 100
        assert db.get("key:0999") == b"v" * 100
        with pytest.raises(CorruptionError):
            list(db.scan())
        with pytest.raises(CorruptionError):
            db.compact()
        db.set("key:0000", "new")
        assert db.get("key:0000") == b"new"
    assert table.exists()


def test_a_store_of_a_newer_format_is_refused_untouched(store_path: Path) -> None:
    BlockingFerroKV.open(store_path).close()
    current = store_path / "CURRENT"
    body = bytearray(current.read_bytes()[:48])
    struct.pack_into("<H", body, 8, 2)
    current.write_bytes(bytes(body) + checksum(bytes(body)).to_bytes(8, "little"))
    before = sorted(p.name for p in store_path.iterdir())
    with pytest.raises(UnsupportedFormat, match="needs a newer ferrokv"):
        BlockingFerroKV.open(store_path)
    assert sorted(p.name for p in store_path.iterdir()) == before


def test_a_store_without_identity_is_refused(store_path: Path) -> None:
    with BlockingFerroKV.open(store_path) as db:
        db.set("k", "v")
    (store_path / "CURRENT").unlink()
    with pytest.raises(CorruptionError, match="identity is missing"):
        BlockingFerroKV.open(store_path)


def test_a_file_is_refused_as_a_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("hello")
    with pytest.raises(StorePathError, match="must be a directory"):
        BlockingFerroKV.open(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "hello"


@pytest.mark.parametrize("path", ["", "a\0b", 5])
def test_a_path_that_is_none_is_refused(path: object) -> None:
    with pytest.raises((StorePathError, TypeError)):
        BlockingFerroKV.open(path)  # type: ignore[arg-type]


def test_a_missing_parent_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorePathError, match="parent must exist"):
        BlockingFerroKV.open(tmp_path / "no" / "store")


def test_a_directory_that_everybody_can_write_is_refused(store_path: Path) -> None:
    store_path.mkdir()
    store_path.chmod(0o777)
    with pytest.raises(StorePathError, match="writable by everybody"):
        BlockingFerroKV.open(store_path)


def test_files_and_directory_are_private_whatever_the_umask(store_path: Path) -> None:
    old = os.umask(0)
    try:
        with BlockingFerroKV.open(store_path) as db:
            db.set("k", "v")
            db.flush()
    finally:
        assert os.umask(old) == 0, "the process's umask was touched"
    assert store_path.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in store_path.iterdir()} == {0o600}


@pytest.mark.parametrize("kind", ["symlink", "hardlink"])
def test_a_planted_link_is_not_followed(store_path: Path, tmp_path: Path, kind: str) -> None:
    BlockingFerroKV.open(store_path).close()
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    control = store_path / "control"
    control.unlink()
    if kind == "symlink":
        control.symlink_to(victim)
    else:
        control.hardlink_to(victim)
    with pytest.raises(StorePathError):
        BlockingFerroKV.open(store_path)
    assert victim.read_bytes() == b"precious"


@pytest.mark.parametrize(
    "options", [{"memtable_bytes": 1}, {"nonsense": 1}, {"block_bytes": "4096"}, {"busy_timeout": -1}]
)
def test_bad_options_are_refused(store_path: Path, options: dict) -> None:
    with pytest.raises(DataError):
        BlockingFerroKV.open(store_path, **options)
    assert not store_path.exists()


def test_a_refused_opening_leaves_the_directory_free(store_path: Path) -> None:
    with BlockingFerroKV.open(store_path) as db:
        db.set("k", "v")
    saved = store_path.with_name("saved")
    shutil.copytree(store_path, saved)
    (store_path / "CURRENT").write_bytes(b"nonsense")
    for _ in range(2):
        with pytest.raises(CorruptionError):
            BlockingFerroKV.open(store_path)
    shutil.copy(saved / "CURRENT", store_path / "CURRENT")
    with BlockingFerroKV.open(store_path) as db:
        assert db.get("k") == b"v"
