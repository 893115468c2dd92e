"""Looking at a place for a store: `inspect_directory` says beforehand what opening would say, and touches nothing."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ferrokv import BlockingFerroKV, StoreBusy, StoreFull, StorePathError, inspect_directory
from ferrokv.local.storage import directory
from ferrokv.local.storage.requests import ListDirectory

from ..support.peer import leave_with


def missing(path: Path) -> None:
    """Nothing there."""


def without_parent(path: Path) -> None:
    path.parent.rmdir()


def inside_a_file(path: Path) -> None:
    path.parent.rmdir()
    path.parent.write_text("a file")


def a_file(path: Path) -> None:
    path.write_text("a file")


def empty(path: Path) -> None:
    path.mkdir(mode=0o700)


def a_store(path: Path) -> None:
    BlockingFerroKV.open(path).close()


def open_to_everybody(path: Path) -> None:
    path.mkdir()
    path.chmod(0o777)


def a_link_to_a_directory(path: Path) -> None:
    path.with_name("real").mkdir()
    path.symlink_to("real")


def a_link_to_nothing(path: Path) -> None:
    path.symlink_to("nothing")


def a_link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


PLACES = (
    *(missing, without_parent, inside_a_file, a_file, empty, a_store, open_to_everybody),
    *(a_link_to_a_directory, a_link_to_nothing, a_link_to_itself),
)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A path in a directory of its own, where nothing is yet."""
    (tmp_path / "parent").mkdir()
    return tmp_path / "parent" / "place"


def opening_says(path: Path) -> str | None:
    """The sentence of the `StorePathError`, or None."""
    try:
        BlockingFerroKV.open(path).close()
    except StorePathError as error:
        return str(error)
    return None


@pytest.mark.parametrize("prepare", PLACES, ids=lambda prepare: prepare.__name__)
@pytest.mark.parametrize("file_system", ["ext4", "nfs4"])
def test_the_problem_is_what_opening_would_say(
    place: Path, prepare: Callable[[Path], None], file_system: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(place)
    monkeypatch.setattr(directory, "_file_system", lambda path: file_system)
    before = sorted(place.parent.parent.rglob("*"))
    report = inspect_directory(place)
    assert sorted(place.parent.parent.rglob("*")) == before, "something was made"
    assert report.problem == opening_says(place)
    assert report.is_network == (file_system == "nfs4")


def test_a_store_an_empty_directory_and_a_missing_one_are_told_apart(place: Path) -> None:
    report = inspect_directory(place)
    assert (report.exists, report.is_store, report.mode, report.owner_uid) == (False, False, None, None)
    assert report.problem is None
    place.mkdir()
    place.chmod(0o750)
    report = inspect_directory(str(place))
    assert (report.exists, report.is_store, report.mode, report.owner_uid) == (True, False, 0o750, os.geteuid())
    BlockingFerroKV.open(place).close()
    assert inspect_directory(place).is_store


def test_the_path_is_the_real_one(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_store(place.with_name("real"))
    place.symlink_to("real")
    monkeypatch.chdir(place.parent)
    report = inspect_directory("place")
    assert report.path == os.path.realpath(place.with_name("real"))
    assert report.is_store


def test_a_file_system_in_memory_is_told_and_no_problem(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "_file_system", lambda path: "tmpfs")
    report = inspect_directory(place)
    assert report.file_system == "tmpfs"
    assert report.is_volatile
    assert not report.is_network
    assert report.problem is None


@pytest.mark.parametrize("path", ["", "a\0b", 5, None])
def test_what_is_no_path_is_a_problem_and_no_exception(path: object) -> None:
    report = inspect_directory(path)  # type: ignore[arg-type]
    assert "non-empty" in (report.problem or "")
    assert not report.exists


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # 3.12 warns of forking a process that has threads
def test_without_rights_the_problem_is_what_opening_would_say() -> None:
    """Root plays a user without rights in a child; where the tests do not run as root, the missing bits are enough."""
    parent = Path(tempfile.mkdtemp())
    try:
        (parent / "closed").mkdir()
        (parent / "closed").chmod(0o500)
        parent.chmod(0o755 if os.geteuid() == 0 else 0o500)
        pid = os.fork()
        if pid == 0:
            leave_with(lambda: _look_as_nobody(parent))
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    finally:
        parent.chmod(0o700)
        shutil.rmtree(parent)


def _look_as_nobody(parent: Path) -> int:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
    for path in (parent / "closed", parent / "new", parent / "closed" / "new"):
        problem = inspect_directory(path).problem
        if problem is None or problem != opening_says(path):
            return 1
    return 0


def test_a_directory_is_made_private_and_only_when_it_is_opened(place: Path) -> None:
    inspect_directory(place)
    assert not place.exists()
    BlockingFerroKV.open(place).close()
    assert stat.S_IMODE(place.stat().st_mode) == 0o700


def test_a_full_disk_is_told_from_a_missing_parent(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    with BlockingFerroKV.open(place) as db:
        monkeypatch.setattr(os, "mkdir", full)
        with pytest.raises(StoreFull):
            db.backup(place.parent / "copy")
    with pytest.raises(StoreFull):
        BlockingFerroKV.open(place.parent / "new")


def test_a_directory_whose_name_is_not_durable_is_made_again(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sync, synced = directory._sync_parent, []

    def fail_once(path: str) -> None:
        synced.append(path)
        if len(synced) == 1:
            raise OSError(errno.EIO, "input/output error")
        sync(path)

    monkeypatch.setattr(directory, "_sync_parent", fail_once)
    with pytest.raises(StorePathError, match="input/output error"):
        BlockingFerroKV.open(place)
    assert not (place).exists()
    BlockingFerroKV.open(place).close()
    assert len(synced) == 2


@pytest.mark.parametrize(("number", "error"), [(errno.EMFILE, StoreBusy), (errno.EIO, StorePathError)])
def test_who_has_the_store_open_can_not_be_seen(
    place: Path, monkeypatch: pytest.MonkeyPatch, number: int, error: type[Exception]
) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    with BlockingFerroKV.open(place) as db:
        with monkeypatch.context() as patch:
            patch.setattr(os, "listdir", fail)
            with pytest.raises(error, match="has the store open"):
                db.stats()
        assert db.stats().processes == ()


def test_a_name_may_vanish_while_the_directory_is_listed(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    @contextmanager
    def vanishing(fd: int) -> Iterator[list[os.DirEntry[str]]]:
        with scandir(fd) as found:
            entries = list(found)
        (place / "stray").unlink()
        yield entries

    with BlockingFerroKV.open(place) as db:
        (place / "stray").write_text("")
        monkeypatch.setattr(os, "scandir", vanishing)
        sizes = db._store.storage.perform(ListDirectory())
        monkeypatch.undo()
    assert "CURRENT" in sizes
    assert "stray" not in sizes
