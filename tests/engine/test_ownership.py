"""Whose directory a store may be made in, and on which file systems."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ferrokv import BlockingFerroKV, StorePathError, inspect_directory
from ferrokv.local.storage import directory, probing
from ferrokv.local.storage.probing import Calls, probe

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give directories away")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where everybody may make files, as in /tmp."""
    (tmp_path / "sticky").mkdir()
    (tmp_path / "sticky").chmod(0o1777)
    return tmp_path / "sticky"


@root_only
@pytest.mark.parametrize("mode", [0o700, 0o770])
@pytest.mark.parametrize("below", ["store", "a/store"])
def test_a_directory_that_another_user_made_where_everybody_may_is_refused(place: Path, mode: int, below: str) -> None:
    path = place / below
    path.mkdir(parents=True)
    for made in (place / "a", path):
        if made.exists():
            os.chown(made, 65534, 65534)
            made.chmod(mode)
    for _ in range(2):
        with pytest.raises(StorePathError, match=r"another user.*choose another place"):
            BlockingFerroKV.open(path)
        assert "another user" in (inspect_directory(path).problem or "")
    assert list(path.iterdir()) == []
    (path / "CURRENT").write_bytes(b"planted")
    with pytest.raises(StorePathError, match="another user"):
        BlockingFerroKV.open(path)


@root_only
def test_one_that_another_user_was_given_elsewhere_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As /srv/app of www-data, in which root runs a command."""
    monkeypatch.setattr(directory, "_open_ancestor", lambda path: None)  # the tests themselves may run below /tmp
    path = tmp_path / "store"
    path.mkdir(mode=0o700)
    os.chown(path, 65534, 65534)
    with BlockingFerroKV.open(path) as db:
        db.set("key", "value")
    assert {file.stat().st_uid for file in path.iterdir()} == {65534}


def test_ones_own_directory_below_tmp_is_fine(place: Path) -> None:
    with BlockingFerroKV.open(place / "store") as db:
        db.set("key", "value")


@pytest.mark.parametrize("foreign", ["notes.txt", "wal-1.log", "sub"])
def test_a_directory_with_other_files_is_not_taken_over(store_path: Path, foreign: str) -> None:
    (store_path / foreign).mkdir(parents=True)
    with pytest.raises(StorePathError, match=f"other files and no store.*{foreign}"):
        BlockingFerroKV.open(store_path)
    assert "other files" in (inspect_directory(store_path).problem or "")
    assert [found.name for found in store_path.iterdir()] == [foreign]


def test_what_an_interrupted_creation_left_is_no_other_file(store_path: Path) -> None:
    store_path.mkdir(mode=0o700)
    names = ("open.lock", "process-0123456789abcdef.lock", "control", "CURRENT.new", "wal-00000001.log", ".gitkeep")
    for name in (*names, "manifest-00000001.log"):
        (store_path / name).touch(mode=0o600)
    with BlockingFerroKV.open(store_path) as db:
        db.set("key", "value")


def test_a_store_may_have_other_files_beside_it_later(store_path: Path) -> None:
    BlockingFerroKV.open(store_path).close()
    (store_path / "notes.txt").touch()
    BlockingFerroKV.open(store_path).close()


def test_a_file_system_that_has_it_all_passes(tmp_path: Path) -> None:
    probe(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def no_exclusion(fd: int, operation: int) -> None:
    """A lock that everybody gets."""


def private_map(fd: int, size: int) -> mmap.mmap:
    return mmap.mmap(fd, size, flags=mmap.MAP_PRIVATE)


def failing(*arguments: Any) -> Any:
    raise OSError(19, "No such device")


@pytest.mark.parametrize(
    ("calls", "lacking"),
    [
        (Calls(flock=no_exclusion), "a lock that keeps another descriptor out"),
        (Calls(flock=failing), "a lock that keeps another descriptor out"),
        (Calls(map=private_map), "a shared mapping that another one sees"),
        (Calls(map=failing), "a shared mapping that another one sees"),
        (Calls(fsync=failing), "a sync of a file"),
    ],
)
def test_what_a_file_system_lacks_is_named(tmp_path: Path, calls: Calls, lacking: str) -> None:
    with pytest.raises(StorePathError, match=lacking):
        probe(str(tmp_path), calls)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("file_system", ["virtiofs", "9p", "vboxsf", "fuse.bindfs", "fuseblk"])
def test_file_systems_that_may_be_remote_are_tried(
    store_path: Path, file_system: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory, "_file_system", lambda path: file_system)
    with BlockingFerroKV.open(store_path) as db:
        db.set("key", "value")
    assert inspect_directory(store_path).problem is None
    make: Callable[[], Calls] = lambda: Calls(flock=no_exclusion)  # noqa: E731
    monkeypatch.setattr(probing, "Calls", make)
    with pytest.raises(StorePathError, match="lacks a lock"):
        BlockingFerroKV.open(store_path)


@pytest.mark.parametrize("file_system", ["nfs", "nfs4", "cifs", "fuse.sshfs", "lustre"])
def test_those_of_a_network_are_refused_by_name(
    store_path: Path, file_system: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory, "_file_system", lambda path: file_system)
    with pytest.raises(StorePathError, match=file_system):
        BlockingFerroKV.open(store_path)
