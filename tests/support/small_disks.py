"""Small disks for tests: a real tmpfs where it can be mounted, else a limit that the storage seam keeps."""

from __future__ import annotations

import errno
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ferrokv import BlockingFerroKV, StoreFull
from ferrokv.local.engine.spares import SPARE_TABLE
from ferrokv.local.storage import local
from ferrokv.local.storage.requests import Space

STEP_BYTES = 4096
PATIENCE_SECONDS = 20.0
CAPACITY = 12 << 20
OPTIONS = {"memtable_bytes": 1 << 20, "table_bytes": 2 << 20}
VALUE = os.urandom(20_000)


class LimitedDisk:
    """A directory whose files may have so many bytes together. Every file that is written through the seam is counted."""

    def __init__(self, path: Path, capacity: int, patch: pytest.MonkeyPatch) -> None:
        self.path = path
        self.capacity = capacity
        self.foreign = 0
        write_all, allocate = local.write_all, local.allocate

        def limited_write(fd: int, data: bytes, offset: int) -> None:
            room = self._room(fd, offset + len(data)) - offset
            write_all(fd, data[: max(0, room)], offset)
            if room < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        def limited_allocate(fd: int, size: int) -> None:
            if self._room(fd, size) < size:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            allocate(fd, size)

        patch.setattr(local, "write_all", limited_write)
        patch.setattr(local, "allocate", limited_allocate)
        patch.setattr(local, "space_of", lambda _: Space(max(0, self.free()), capacity))

    def free(self) -> int:
        """Bytes that are left."""
        used = 0
        for folder, _, names in os.walk(self.path):
            for name in names:
                try:
                    used += os.stat(os.path.join(folder, name)).st_size
                except FileNotFoundError:
                    continue
        return self.capacity - self.foreign - used

    def take_all(self) -> None:
        """Another program takes what is left."""
        self.foreign += max(0, self.free())

    def give_back(self, size: int) -> None:
        """Another program frees some of what it took."""
        self.foreign = max(0, self.foreign - size)

    def _room(self, fd: int, size: int) -> int:
        """How large the file may become at most, on its way to `size`."""
        found = os.fstat(fd).st_size
        return size if size <= found else min(size, found + max(0, self.free()))


class Tmpfs:
    """A file system of its own."""

    def __init__(self, path: Path, capacity: int) -> None:
        self.path = path
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={capacity}", "tmpfs", str(path)], check=True)

    def free(self) -> int:
        """Bytes that are left."""
        facts = os.statvfs(self.path)
        return facts.f_bavail * facts.f_frsize

    def take_all(self) -> None:
        """Another program takes what is left."""
        fd = os.open(self.path / "other", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            while True:
                os.write(fd, b"x" * STEP_BYTES)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
        finally:
            os.close(fd)

    def give_back(self, size: int) -> None:
        """Another program frees some of what it took."""
        other = self.path / "other"
        os.truncate(other, max(0, other.stat().st_size - size))


SmallDisk = LimitedDisk | Tmpfs


@contextmanager
def small_disk(kind: str, path: Path, capacity: int) -> Iterator[SmallDisk]:
    """The disk; without the right to mount, a test of a tmpfs is skipped, and says so."""
    path.mkdir()
    if kind == "limited":
        with pytest.MonkeyPatch.context() as patch:
            yield LimitedDisk(path, capacity, patch)
        return
    try:
        disk = Tmpfs(path, capacity)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a tmpfs needs root; the limited disk covers the same steps")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def eventually(call: Callable[[], object]) -> None:
    """Call it until the disk has room for it: the background gives space back in its own time."""
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            call()
        except StoreFull:
            assert time.monotonic() < end, "no space came back"
            time.sleep(0.01)
        else:
            return


def until(done: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
    """Wait for the background."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "the background does not come to it"
        time.sleep(0.01)


def fill(db: BlockingFerroKV, disk: SmallDisk) -> list[str]:
    """Write until nothing more goes in, also when the background has had its turn; then another program takes the rest."""
    written: list[str] = []
    refused = 0
    while refused < 3:
        name = f"key:{len(written)}"
        try:
            db.set(name, VALUE)
        except StoreFull:
            refused += 1
            until(lambda: _is_quiet(db))
        else:
            refused = 0
            written.append(name)
    disk.take_all()
    assert 100 < len(written) < 1000
    return written


def _is_quiet(db: BlockingFerroKV) -> bool:
    """True when there is room again, or when nothing more can be done without room."""
    stats = db.stats()
    return not db._store.engine.is_short or (not stats.sealed_memtables and SPARE_TABLE in os.listdir(stats.path))
