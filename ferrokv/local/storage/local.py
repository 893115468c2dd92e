"""Local files: the requests carried out by the operating system."""

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
from .locks import LockFiles, Presence, close_fd
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
# Reading what another process has just written would give the file a new access time, and its inode to the journal, each time.
_NO_ATIME: Final[int] = getattr(os, "O_NOATIME", 0)
_FULL_SYNC: Final[int | None] = getattr(fcntl, "F_FULLFSYNC", None)
# With DONTNEED, Linux begins to write the pages of a range, and then drops those that lie in it as a whole: a short one has none.
_EARLY_BYTES_MAX: Final = 4095
# A stray write to stdout or stderr of a process that closed them must not land in a store (SQLite's lesson).
_LOWEST_FD: Final = 3
_READER_POLL_SECONDS: Final = 0.05


class _ClosedActions(dict[type, Callable[[Any], Any]]):
    """What a storage that has given its directory back can still do."""

    def __init__(self, why: str) -> None:
        super().__init__()
        self._why = why

    def __missing__(self, kind: type) -> Callable[[Any], Any]:
        raise StoreClosed(self._why)


class LocalStorage:
    """One directory of the local file system. All methods may be called from any thread."""

    unclosed: ClassVar[WeakSet[LocalStorage]] = WeakSet()
    """Every storage of this process that holds descriptors, for the hook after a fork."""

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
        # Those that may be open; single operations only, which no thread comes between.
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
        """Carry the request out, blocking."""
        return self._actions[request.__class__](request)

    def read_if_cached(self, request: ReadAt) -> bytes | None:
        """The bytes when the page cache has all of them, by preadv2(2) with RWF_NOWAIT. About 1.2 µs for 4 KiB.

        A short answer counts as "not ready": kernels 5.9 and 5.10 gave such, and the block's checksum decides anyway.
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
            self._inline_reads = False  # tmpfs and some sandboxes: not for this directory
            return None
        if request.file.fd != fd:  # type: ignore[attr-defined]
            raise self._closed()
        return bytes(buffer) if found == request.size else None

    def unlocker(self, role: Role) -> Callable[[], None]:
        """One C call that lets go of the role's lock."""
        return self._locks.unlocker(role)

    def announce(self, *, alone: bool) -> None:
        """Say that this process has the store open. Lock files that are missing beside others are not made anew."""
        if not alone:
            self._locks.flags = os.O_RDWR
        self._presence.announce()

    def attached(self, *, sweep: bool = False) -> list[Process]:
        """Who else has the store open; a few file system calls, none of which waits."""
        try:
            return self._presence.others(sweep=sweep)
        except StorePathError:
            raise
        except OSError as error:
            raise unseen(error, closed=self._fd < 0) from error

    def announced(self) -> str:
        """The random part of the name of this process's lock file."""
        return self._presence.announced

    def is_announced(self, name: str) -> bool:
        """True if the process's lock file is there and locked, or the name is none."""
        try:
            return self._presence.is_alive(name)
        except StorePathError:
            raise
        except OSError as error:
            raise unseen(error, closed=self._fd < 0) from error

    def space(self) -> Space:
        """From the file system; without bounds where it does not tell."""
        try:
            return space_of(self._fd)
        except OSError:
            return Space(UNBOUNDED, UNBOUNDED)

    def descriptors_max(self) -> int:
        """The soft limit of the process."""
        return descriptors.descriptors_max()

    def when_short(self, give_back: Callable[[], None]) -> None:
        """Registered until the storage is closed."""
        descriptors.register(self, give_back)

    def process_id(self) -> int:
        """The pid, as this process sees it."""
        return os.getpid()

    def read_page(self, name: str, size: int) -> bytes:
        """What the file holds, as far as it is there."""
        try:
            fd = self._open_fd(name, self._existing)
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
            write_all(fd, fresh, 0)
            os.fsync(fd)
            return self._page.share(name, fd, mmap.mmap(fd, len(fresh)))
        finally:
            os.close(fd)

    def attach_page(self, name: str, size: int) -> Words | None:
        """Map the file as it is. Its size is looked at first, for a load behind the end of a file would be a SIGBUS."""
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
        """A page that the kernel clears in a child."""
        return raise_flag()

    def changed(self) -> str | None:
        """By the identities of the directory, of this process's announcement and of the control page. About 10 µs.

        A path that leads nowhere is no sign: the directory may have been renamed, or be out of sight after a chroot.
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
        """Sleep by futex(2). Who may only read cannot say that it waits, so it just sleeps, for a short while."""
        if self.read_only:
            time.sleep(min(seconds, _READER_POLL_SECONDS))
        else:
            wait_for_word(words, index, seen, seconds)

    def wake_for_word(self, words: Words, index: int) -> None:
        """Wake by futex(2). About a microsecond, and some ten for each process that sleeps."""
        wake_for_word(words, index)

    def boot_id(self) -> bytes:
        """From the kernel."""
        return boot_id()

    def random_bytes(self, size: int) -> bytes:
        """From the operating system."""
        return os.urandom(size)

    def close(self) -> None:
        """Release locks, files and directory, and take the announcement back. What fails is logged, and the rest is done."""
        if os.getpid() == self._pid:  # else the announcement is the parent's
            self._presence.withdraw()
        self._let_go("the store was closed meanwhile; open it again")

    def abandon(self) -> None:
        """Close copies of descriptors, as a forked child must: nothing is unlocked or unlinked."""
        self._let_go("what is under way was begun by the parent process; begin it again")

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
        # Order: last, for a child that is forked meanwhile has to close its copies of what is still open here.
        self.unclosed.discard(self)

    def _closed(self) -> Exception:
        """Why a descriptor that was just used is no longer that of its file."""
        if self._fd < 0:
            return StoreClosed(self._why_closed)
        return OSError(errno.EBADF, "the file was closed meanwhile")

    def _open_fd(self, name: str, flags: int) -> int:
        flags |= os.O_CLOEXEC | os.O_NOFOLLOW
        mode = self.directory.file_mode
        try:
            fd = with_descriptor(lambda: os.open(name, flags | _NO_ATIME, mode, dir_fd=self._fd))
        except PermissionError:
            fd = os.open(name, flags, mode, dir_fd=self._fd)  # the file belongs to somebody else
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
        """`StorePathError` unless the descriptor is of a plain file of the store's own, which gets its owner and its mode."""
        mode = self.directory.file_mode
        facts = os.fstat(fd)
        if not stat.S_ISREG(facts.st_mode) or facts.st_nlink > 1:
            raise StorePathError(f"a file of the store is not a plain file of its own: name={name}")
        if self.directory.owner and facts.st_uid != self.directory.owner[0] and not self.read_only:
            os.fchown(fd, *self.directory.owner)
        if flags & os.O_CREAT and stat.S_IMODE(facts.st_mode) != mode and facts.st_uid == os.geteuid():
            os.fchmod(fd, mode)  # the umask took something away; it is the process's own, and not ours to change

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
        """The file, to be closed with the storage at the latest."""
        self._files.add(ref(file, self._files.discard))
        if self._fd < 0:  # closed meanwhile by another thread, which did not see this file
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
            # Closed by another thread, and the number may have been given to another file before these bytes were read.
            raise self._closed()
        return data

    def _write(self, request: WriteAt) -> None:
        file, offset, data, sync_follows = request
        write_all(file.fd, data, offset)  # type: ignore[attr-defined]
        if sync_follows and self._begins_early and len(data) <= _EARLY_BYTES_MAX:
            self._begin_early(file.fd, offset, len(data))  # type: ignore[attr-defined]

    def _begin_early(self, fd: int, offset: int, size: int) -> None:
        """Have the kernel begin to write dirty pages to the disk, and not wait (docs/decisions/0016-begin-before-the-sync.md)."""
        try:
            # One byte less: where a range ends with its file, Linux takes the last page for a whole one.
            os.posix_fadvise(fd, offset, size - 1, os.POSIX_FADV_DONTNEED)
        except OSError:  # a file system without it, or a sandbox: the sync does all of the work
            self._begins_early = False

    def _sync(self, request: Sync) -> None:
        fd = request.file.fd  # type: ignore[attr-defined]
        if _FULL_SYNC is not None:
            fcntl.fcntl(fd, _FULL_SYNC)  # macOS: fsync alone leaves the bytes in the drive's cache
        elif request.metadata:
            os.fsync(fd)
        else:
            os.fdatasync(fd)
        # A name is looked up, and the file not asked: on Linux 6.13 and later fstat() makes the next write give the file a
        # timestamp of its own, which puts its inode into the journal each time (150 against 235 µs a sync, measured).
        if not os.access(request.file.name, os.F_OK, dir_fd=self._fd):
            raise OSError(errno.ESTALE, f"{request.file.name} was removed while the store was open")

    def _list(self, _: ListDirectory) -> dict[str, int]:
        if self._fd < 0:  # for which scandir() would list the working directory
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        with with_descriptor(lambda: os.scandir(self._fd)) as found:
            return sizes_of(found)
