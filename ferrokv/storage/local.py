"""Local files: the requests carried out by the operating system."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import stat
from collections.abc import Callable
from typing import Any, ClassVar, Final
from weakref import WeakSet

from ..errors import StorePathError
from .directory import Directory
from .requests import (
    ListDirectory,
    Open,
    Pause,
    ReadAt,
    Remove,
    Rename,
    Request,
    Sync,
    SyncDirectory,
    Words,
    WriteAt,
)

_NO_WAIT: Final[int | None] = getattr(os, "RWF_NOWAIT", None)
_FULL_SYNC: Final[int | None] = getattr(fcntl, "F_FULLFSYNC", None)
# A stray write to stdout or stderr of a process that closed them must not land in a store (SQLite's lesson).
_LOWEST_FD: Final = 3


class LocalFile:
    """A descriptor and the name it was opened by."""

    __slots__ = ("fd", "name")

    def __init__(self, name: str, fd: int) -> None:
        self.name = name
        self.fd = fd

    def close(self) -> None:
        """Close the descriptor; further calls do nothing."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        self.close()


class LocalStorage:
    """One directory of the local file system. All methods may be called from any thread."""

    unclosed: ClassVar[WeakSet[LocalStorage]] = WeakSet()
    """Every storage of this process that holds descriptors, for the hook after a fork."""

    def __init__(self, directory: Directory) -> None:
        self.directory = directory
        self.unclosed.add(self)
        self._fd = os.open(directory.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._locks: dict[str, int] = {}
        self._inline_reads = _NO_WAIT is not None
        self._actions: dict[type, Callable[[Any], Any]] = {
            Open: self._open,
            ReadAt: self._read,
            WriteAt: self._write,
            Sync: self._sync,
            SyncDirectory: lambda _: os.fsync(self._fd),
            Rename: lambda r: os.rename(r.old, r.new, src_dir_fd=self._fd, dst_dir_fd=self._fd),
            Remove: lambda r: os.unlink(r.name, dir_fd=self._fd),
            ListDirectory: self._list,
            Pause: lambda _: None,
        }

    def perform(self, request: Request) -> Any:
        """Carry the request out, blocking."""
        return self._actions[request.__class__](request)

    def read_if_cached(self, request: ReadAt) -> bytes | None:
        """The bytes when the page cache has all of them, by preadv2(2) with RWF_NOWAIT. About 1.2 µs for 4 KiB.

        A short answer counts as "not ready": kernels 5.9 and 5.10 gave such, and the block's checksum decides anyway.
        """
        if not self._inline_reads:
            return None
        buffer = bytearray(request.size)
        try:
            found = os.preadv(request.file.fd, [buffer], request.offset, _NO_WAIT or 0)  # type: ignore[attr-defined]
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EPERM, errno.EINVAL, errno.ENOSYS):
                raise
            self._inline_reads = False  # tmpfs and some sandboxes: not for this directory
            return None
        return bytes(buffer) if found == request.size else None

    def try_lock(self, role: str) -> bool:
        """flock(2) the role's file through a descriptor of its own, which is never converted, shared or unlinked."""
        assert role not in self._locks
        fd = self._open_fd(f"{role}.lock", os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        except BaseException:
            os.close(fd)
            raise
        self._locks[role] = fd
        return True

    def read_page(self, name: str, size: int) -> bytes:
        """What the file holds, as far as it is there."""
        try:
            fd = self._open_fd(name, os.O_RDWR)
        except FileNotFoundError:
            return b""
        try:
            return os.pread(fd, size, 0)
        finally:
            os.close(fd)

    def map_page(self, name: str, fresh: bytes) -> Words:
        """Map the file, reset to `fresh`. The mapping lives as long as the words.

        Real bytes are written and synced before the mapping: a store into a sparse page of a full file system would
        be a SIGBUS.
        """
        fd = self._open_fd(name, os.O_RDWR | os.O_CREAT)
        try:
            _write_all(fd, fresh, 0)
            os.fsync(fd)
            page = mmap.mmap(fd, len(fresh))
        finally:
            os.close(fd)
        return memoryview(page).cast("Q")

    def boot_id(self) -> bytes:
        """From the kernel; random where it does not tell, so that no page of another process is trusted."""
        try:
            with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
                return bytes.fromhex(file.read().strip().replace("-", ""))
        except (OSError, ValueError):
            return os.urandom(16)

    def random_bytes(self, size: int) -> bytes:
        """From the operating system."""
        return os.urandom(size)

    def close(self) -> None:
        """Release the locks and the directory. In a forked child this closes copies only and unlocks nothing."""
        self.unclosed.discard(self)
        locks, self._locks = self._locks, {}
        for fd in locks.values():
            os.close(fd)
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _open_fd(self, name: str, flags: int) -> int:
        flags |= os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(name, flags, 0o600, dir_fd=self._fd)
        if fd < _LOWEST_FD:
            low, fd = fd, fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _LOWEST_FD)
            os.close(low)
        facts = os.fstat(fd)
        if not stat.S_ISREG(facts.st_mode) or facts.st_nlink > 1:
            os.close(fd)
            raise StorePathError(f"a file of the store is not a plain file of its own: name={name}")
        if self.directory.owner and facts.st_uid != self.directory.owner[0]:
            os.fchown(fd, *self.directory.owner)
        return fd

    def _open(self, request: Open) -> LocalFile:
        if not request.create:
            return LocalFile(request.name, self._open_fd(request.name, os.O_RDWR))
        file = LocalFile(request.name, self._open_fd(request.name, os.O_RDWR | os.O_CREAT | os.O_EXCL))
        if request.preallocate and hasattr(os, "posix_fallocate"):
            try:
                os.posix_fallocate(file.fd, 0, request.preallocate)
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                    raise
        return file

    @staticmethod
    def _read(request: ReadAt) -> bytes:
        fd, size, offset = request.file.fd, request.size, request.offset  # type: ignore[attr-defined]
        data = os.pread(fd, size, offset)
        if len(data) == size or not data:
            return data
        parts = [data]
        found = len(data)
        while found < size and (data := os.pread(fd, size - found, offset + found)):
            parts.append(data)
            found += len(data)
        return b"".join(parts)

    @staticmethod
    def _write(request: WriteAt) -> None:
        _write_all(request.file.fd, request.data, request.offset)  # type: ignore[attr-defined]

    @staticmethod
    def _sync(request: Sync) -> None:
        fd = request.file.fd  # type: ignore[attr-defined]
        if _FULL_SYNC is not None:
            fcntl.fcntl(fd, _FULL_SYNC)  # macOS: fsync alone leaves the bytes in the drive's cache
        elif request.metadata:
            os.fsync(fd)
        else:
            os.fdatasync(fd)

    def _list(self, _: ListDirectory) -> dict[str, int]:
        with os.scandir(self._fd) as found:
            return {entry.name: entry.stat(follow_symlinks=False).st_size for entry in found}


def _write_all(fd: int, data: bytes, offset: int) -> None:
    written = os.pwrite(fd, data, offset)
    while written < len(data):
        written += os.pwrite(fd, memoryview(data)[written:], offset + written)
