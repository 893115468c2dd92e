"""The storage of local files, which performs requests by calling the operating system."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import stat
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar, Final
from weakref import WeakSet, ref

from ...errors import StoreClosed, StorePathError
from . import descriptors
from .descriptors import with_descriptor
from .directory import Directory, space_of
from .files import LocalFile, allocate, read_on, sizes_of, unseen, write_all
from .forks import raise_flag
from .futex import wait_for_word, wake_for_word
from .lock_files import LockFiles, Presence, close_fd
from .pages import MappedPage, boot_id
from .requests import (
    UNBOUNDED,
    Allocate,
    Flag,
    ListDirectory,
    Lock,
    Nap,
    Open,
    Pause,
    Process,
    ReadAt,
    Remove,
    Rename,
    Request,
    Role,
    Space,
    Sync,
    SyncDirectory,
    Truncate,
    Words,
    WriteAt,
)

_NO_WAIT: Final[int | None] = getattr(os, "RWF_NOWAIT", None)
# Else each read of what another process has just written updates the access time, in the journal.
_NO_ATIME: Final[int] = getattr(os, "O_NOATIME", 0)
_FULL_SYNC: Final[int | None] = getattr(fcntl, "F_FULLFSYNC", None)
# DONTNEED makes Linux begin to write a range, and drop the pages wholly in it: a short one has none.
_EARLY_BYTES_MAX: Final = 4095
# As in SQLite, no file of a store gets descriptor 0, 1 or 2, for a stray write to stdout to hit it.
_LOWEST_FD: Final = 3
_READER_POLL_SECONDS: Final = 0.05


class _ClosedActions(dict[type, Callable[[Any], Any]]):
    """The actions of a closed storage: each request raises `StoreClosed`."""

    def __init__(self, why: str) -> None:
        super().__init__()
        self._why = why

    def __missing__(self, kind: type) -> Callable[[Any], Any]:
        raise StoreClosed(self._why)


class LocalStorage:
    """A directory of the local file system. Any thread may call any method."""

    unclosed: ClassVar[WeakSet[LocalStorage]] = WeakSet()
    """All storages of this process that hold descriptors, for a forked child to close its copies."""

    def __init__(self, directory: Directory) -> None:
        self.directory = directory
        self.read_only = directory.read_only
        self._pid = os.getpid()
        self._fd = os.open(directory.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._existing = os.O_RDONLY if directory.read_only else os.O_RDWR
        self._locks = LockFiles(self._open_fd)
        self._presence = Presence(lambda: self._fd, self._open_fd)
        self._why_closed = ""
        self._page = MappedPage()
        # Files that may be open. Only single set operations use it, which are atomic between threads.
        self._files: set[ref[LocalFile]] = set()
        self._inline_reads = _NO_WAIT is not None
        self._begins_early = sys.platform == "linux"
        self._actions: dict[type, Callable[[Any], Any]] = {
            Open: self._open,
            ReadAt: self._read,
            WriteAt: self._write,
            Allocate: lambda r: allocate(r.file.fd, r.size),
            Truncate: lambda r: os.ftruncate(r.file.fd, r.size),
            Sync: self._sync,
            SyncDirectory: lambda _: os.fsync(self._fd),
            Rename: lambda r: os.rename(r.old, r.new, src_dir_fd=self._fd, dst_dir_fd=self._fd),
            Remove: lambda r: os.unlink(r.name, dir_fd=self._fd),
            ListDirectory: self._list,
            Nap: lambda r: time.sleep(r.seconds),
            Lock: self._locks.take,
            Pause: lambda _: None,
        }
        self.unclosed.add(self)

    def perform(self, request: Request) -> Any:
        """Perform the request and return its reply. Blocks."""
        return self._actions[request.__class__](request)

    def read_if_cached(self, request: ReadAt) -> bytes | None:
        """Read by preadv2(2) with RWF_NOWAIT. None unless all bytes are cached. 1.2 µs for 4 KiB.

        A short read counts as "not cached", because kernels 5.9 and 5.10 return short reads.
        """
        if not self._inline_reads:
            return None
        buffer = bytearray(request.size)
        fd = request.file.fd  # type: ignore[attr-defined]
        try:
            found = os.preadv(fd, [buffer], request.offset, _NO_WAIT or 0)
        except BlockingIOError:
            return None
        except OSError as error:
            if request.file.fd != fd or fd < 0:  # type: ignore[attr-defined]
                raise self._closed() from error
            if error.errno not in (errno.EOPNOTSUPP, errno.EPERM, errno.EINVAL, errno.ENOSYS):
                raise
            self._inline_reads = False  # not possible in this directory, as on tmpfs and in some sandboxes
            return None
        if request.file.fd != fd:  # type: ignore[attr-defined]
            raise self._closed()
        return bytes(buffer) if found == request.size else None

    def unlocker(self, role: Role) -> Callable[[], None]:
        """Return a function that releases the role's lock in one C call."""
        return self._locks.unlocker(role)

    def announce(self, *, alone: bool) -> None:
        """Make this process's lock file. Unless `alone`, missing lock files of roles are an error."""
        if not alone:
            self._locks.flags = os.O_RDWR
        self._presence.announce()

    def attached(self, *, sweep: bool = False) -> list[Process]:
        """List the other processes that have the store open, by a few system calls that do not wait."""
        try:
            return self._presence.others(sweep=sweep)
        except StorePathError:
            raise
        except OSError as error:
            raise unseen(error, closed=self._fd < 0) from error

    def announced(self) -> str:
        """Return the random part of the name of this process's lock file."""
        return self._presence.announced

    def is_announced(self, name: str) -> bool:
        """Return True if that process's lock file exists and is locked, or `name` is not valid."""
        try:
            return self._presence.is_alive(name)
        except StorePathError:
            raise
        except OSError as error:
            raise unseen(error, closed=self._fd < 0) from error

    def space(self) -> Space:
        """Return what the file system reports; UNBOUNDED if it reports nothing."""
        try:
            return space_of(self._fd)
        except OSError:
            return Space(UNBOUNDED, UNBOUNDED)

    def descriptors_max(self) -> int:
        """Return the soft limit of the process."""
        return descriptors.descriptors_max()

    def when_short(self, give_back: Callable[[], None]) -> None:
        """Register `give_back` until the storage is closed."""
        descriptors.register(self, give_back)

    def process_id(self) -> int:
        """Return the pid, as this process sees it."""
        return os.getpid()

    def read_page(self, name: str, size: int) -> bytes:
        """Return the first `size` bytes of the file, or fewer; none if it does not exist."""
        try:
            fd = self._open_fd(name, self._existing)
        except FileNotFoundError:
            return b""
        try:
            return os.pread(fd, size, 0)
        finally:
            os.close(fd)

    def map_page(self, name: str, fresh: bytes) -> Words:
        """Write `fresh` to the file and map it. The mapping lives as long as the words.

        The bytes are written and synced before the file is mapped, because a store into a sparse page
        raises SIGBUS if the file system is full.
        """
        fd = self._open_fd(name, os.O_RDWR | os.O_CREAT)
        try:
            write_all(fd, fresh, 0)
            os.fsync(fd)
            return self._page.share(name, fd, mmap.mmap(fd, len(fresh)))
        finally:
            os.close(fd)

    def attach_page(self, name: str, size: int) -> Words | None:
        """Map the file as it is, if it is large enough: a load behind its end would raise SIGBUS."""
        try:
            fd = self._open_fd(name, self._existing)
        except FileNotFoundError:
            return None
        try:
            if os.fstat(fd).st_size < size:
                return None
            access = mmap.ACCESS_READ if self.read_only else mmap.ACCESS_WRITE
            return self._page.share(name, fd, mmap.mmap(fd, size, access=access))
        finally:
            os.close(fd)

    def raise_flag(self) -> Flag:
        """Return a flag that the kernel clears in a forked child."""
        return raise_flag()

    def changed(self) -> str | None:
        """Compare the inodes of directory, own lock file and control page. About 10 µs.

        A path that leads nowhere means nothing: the directory may be renamed, or hidden by a chroot.
        """
        try:
            if self._fd < 0:
                return None
            here = os.fstat(self._fd)
            if not here.st_nlink:
                return "the directory was removed"
            with suppress(FileNotFoundError, NotADirectoryError):
                there = os.stat(self.directory.path)
                if (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino):
                    return "another directory has taken its place"
            if not self._presence.is_in_place():
                return "its files were removed"
            return None if self._page.is_in_place(self._fd) else "its control page was replaced"
        except OSError:
            return None

    def wait_for_word(self, words: Words, index: int, seen: int, seconds: float) -> None:
        """Sleep by futex(2). A read-only process cannot say that it waits, and just sleeps shortly."""
        if self.read_only:
            time.sleep(min(seconds, _READER_POLL_SECONDS))
        else:
            wait_for_word(words, index, seen, seconds)

    def wake_for_word(self, words: Words, index: int) -> None:
        """Wake by futex(2). About 1 µs, and some 10 µs for each process that sleeps."""
        wake_for_word(words, index)

    def boot_id(self) -> bytes:
        """Return the kernel's id of this boot."""
        return boot_id()

    def random_bytes(self, size: int) -> bytes:
        """Return random bytes from the operating system."""
        return os.urandom(size)

    def close(self) -> None:
        """Release everything, and remove the process's lock file. Failures are only logged."""
        if os.getpid() == self._pid:  # else the lock file is the parent's
            self._presence.withdraw()
        self._let_go("the store was closed meanwhile; open it again")

    def abandon(self) -> None:
        """Close the descriptors that a forked child inherited. Nothing is unlocked or unlinked."""
        self._let_go("this was begun in the parent process, before a fork; begin it again")

    def _let_go(self, why: str) -> None:
        descriptors.forget(self)
        self._why_closed = why
        self._actions = _ClosedActions(why)
        fd, self._fd = self._fd, -1
        self._presence.forget()
        self._locks.close()
        for opened in list(self._files):
            file = opened()
            if file is not None:
                file.close()
        if fd >= 0:
            close_fd(fd)
        self._page.unmap()
        # Order: last, so that a child forked before this line closes its copies of what is open.
        self.unclosed.discard(self)

    def _closed(self) -> Exception:
        """Return the error for a file whose descriptor was closed while it was used."""
        if self._fd < 0:
            return StoreClosed(self._why_closed)
        return OSError(errno.EBADF, "the file was closed meanwhile")

    def _open_fd(self, name: str, flags: int) -> int:
        flags |= os.O_CLOEXEC | os.O_NOFOLLOW
        mode = self.directory.file_mode
        try:
            fd = with_descriptor(lambda: os.open(name, flags | _NO_ATIME, mode, dir_fd=self._fd))
        except PermissionError:
            fd = os.open(name, flags, mode, dir_fd=self._fd)  # O_NOATIME is only for the file's owner
        try:
            if fd < _LOWEST_FD:
                low, fd = fd, fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _LOWEST_FD)
                os.close(low)
            self._check_plain(name, fd, flags)
        except BaseException:
            close_fd(fd)
            raise
        return fd

    def _check_plain(self, name: str, fd: int, flags: int) -> None:
        """Set a file's owner and mode. `StorePathError` if it is not regular or has several links."""
        mode = self.directory.file_mode
        facts = os.fstat(fd)
        if not stat.S_ISREG(facts.st_mode) or facts.st_nlink > 1:
            raise StorePathError(f"a file of the store is not a regular file, or has several links: name={name}")
        if self.directory.owner and facts.st_uid != self.directory.owner[0] and not self.read_only:
            os.fchown(fd, *self.directory.owner)
        if flags & os.O_CREAT and stat.S_IMODE(facts.st_mode) != mode and facts.st_uid == os.geteuid():
            os.fchmod(fd, mode)  # undo the umask, which belongs to the program and is not ours to change

    def _open(self, request: Open) -> LocalFile:
        if not request.create:
            return self._keep(LocalFile(request.name, self._open_fd(request.name, self._existing)))
        file = self._keep(LocalFile(request.name, self._open_fd(request.name, os.O_RDWR | os.O_CREAT | os.O_EXCL)))
        try:
            if request.preallocate:
                allocate(file.fd, request.preallocate)
        except OSError:
            file.close()
            raise
        return file

    def _keep(self, file: LocalFile) -> LocalFile:
        """Remember the file, so that closing the storage closes it. Returns the file."""
        self._files.add(ref(file, self._files.discard))
        if self._fd < 0:  # another thread has closed the storage meanwhile, and has not seen this file
            file.close()
        return file

    def _read(self, request: ReadAt) -> bytes:
        file, offset, size = request
        fd: int = file.fd  # type: ignore[attr-defined]
        try:
            data = os.pread(fd, size, offset)
            if len(data) != size and data:
                data = read_on(fd, size, offset, data)
        except OSError as error:
            if file.fd != fd or fd < 0:  # type: ignore[attr-defined]
                raise self._closed() from error
            raise
        if file.fd != fd:  # type: ignore[attr-defined]
            # Closed by another thread, and the number may have been another file's during the read.
            raise self._closed()
        return data

    def _write(self, request: WriteAt) -> None:
        file, offset, data, sync_follows = request
        write_all(file.fd, data, offset)  # type: ignore[attr-defined]
        if sync_follows and self._begins_early and len(data) <= _EARLY_BYTES_MAX:
            self._begin_early(file.fd, offset, len(data))  # type: ignore[attr-defined]

    def _begin_early(self, fd: int, offset: int, size: int) -> None:
        """Make the kernel begin to write (docs/decisions/0016-begin-before-the-sync.md)."""
        try:
            # One byte less: if a range ends with its file, Linux counts the last page as a whole one.
            os.posix_fadvise(fd, offset, size - 1, os.POSIX_FADV_DONTNEED)
        except OSError:  # a file system without it, or a sandbox: the sync then does all of the work
            self._begins_early = False

    def _sync(self, request: Sync) -> None:
        fd = request.file.fd  # type: ignore[attr-defined]
        if _FULL_SYNC is not None:
            fcntl.fcntl(fd, _FULL_SYNC)  # macOS: fsync alone leaves the bytes in the drive's cache
        elif request.metadata:
            os.fsync(fd)
        else:
            os.fdatasync(fd)
        # Not by fstat(): since Linux 6.13, that makes the next write update the timestamp, which puts
        # the inode into the journal each time (235 µs per sync instead of 150, measured).
        if not os.access(request.file.name, os.F_OK, dir_fd=self._fd):
            raise OSError(errno.ESTALE, f"{request.file.name} was removed while the store was open")

    def _list(self, _: ListDirectory) -> dict[str, int]:
        if self._fd < 0:  # scandir(-1) would list the working directory
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        with with_descriptor(lambda: os.scandir(self._fd)) as found:
            return sizes_of(found)
