"""Open local files, and file operations that take more than one system call."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from contextlib import suppress

from ...errors import StoreBusy, StoreClosed, StorePathError
from .descriptors import NO_DESCRIPTORS
from .lock_files import close_fd


class LocalFile:
    """A descriptor, and the name under which the file was opened."""

    __slots__ = ("__weakref__", "fd", "name")

    def __init__(self, name: str, fd: int) -> None:
        self.name = name
        self.fd = fd

    def close(self) -> None:
        """Close the descriptor. Further calls do nothing."""
        # Order: `fd` is reset before the descriptor is closed. So a reader that has just used the
        # number can tell that the file was closed meanwhile, and that the number may be another
        # file's by now.
        fd, self.fd = self.fd, -1
        if fd >= 0:
            close_fd(fd)

    def __del__(self) -> None:
        self.close()


def read_on(fd: int, size: int, offset: int, data: bytes) -> bytes:
    """Finish a short read: return `data` and what follows, up to `size` bytes or the file's end."""
    parts = [data]
    found = len(data)
    while found < size and (data := os.pread(fd, size - found, offset + found)):
        parts.append(data)
        found += len(data)
    return b"".join(parts)


def allocate(fd: int, size: int) -> None:
    """Reserve disk space for the first `size` bytes of a file, if the file system can."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(fd, 0, size)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise


def write_all(fd: int, data: bytes, offset: int) -> None:
    """Write all of `data`, with as many calls as that takes."""
    written = os.pwrite(fd, data, offset)
    while written < len(data):
        written += os.pwrite(fd, memoryview(data)[written:], offset + written)


def sizes_of(found: Iterable[os.DirEntry[str]]) -> dict[str, int]:
    """Return the name and size of each directory entry."""
    sizes = {}
    for entry in found:
        with suppress(FileNotFoundError):  # another process has renamed or removed it since its name was read
            sizes[entry.name] = entry.stat(follow_symlinks=False).st_size
    return sizes


def unseen(error: OSError, *, closed: bool) -> StoreBusy | StoreClosed | StorePathError:
    """Return the error to raise when looking for other processes has failed with `error`."""
    if closed:
        return StoreClosed("the store was closed meanwhile")
    if error.errno in NO_DESCRIPTORS:
        return StoreBusy("no free file descriptor to find out who has the store open")
    return StorePathError(
        error.errno, f"it cannot be seen who has the store open: reason={error.strerror}", error.filename
    )
