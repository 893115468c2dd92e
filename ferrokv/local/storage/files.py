"""An open local file, and what takes more than one call of the operating system."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from contextlib import suppress

from ...errors import StoreBusy, StoreClosed, StorePathError
from .descriptors import NO_DESCRIPTORS
from .locks import close_fd


class LocalFile:
    """A descriptor and the name it was opened by."""

    __slots__ = ("__weakref__", "fd", "name")

    def __init__(self, name: str, fd: int) -> None:
        self.name = name
        self.fd = fd

    def close(self) -> None:
        """Close the descriptor; further calls do nothing."""
        # Order: forgotten before it is closed, so that a reader who has just used the number can tell that it was closed meanwhile.
        fd, self.fd = self.fd, -1
        if fd >= 0:
            close_fd(fd)

    def __del__(self) -> None:
        self.close()


def read_on(fd: int, size: int, offset: int, data: bytes) -> bytes:
    """`size` bytes that begin with `data`, or fewer at the end of the file."""
    parts = [data]
    found = len(data)
    while found < size and (data := os.pread(fd, size - found, offset + found)):
        parts.append(data)
        found += len(data)
    return b"".join(parts)


def allocate(fd: int, size: int) -> None:
    """Reserve the file's first bytes, where the file system can."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(fd, 0, size)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise


def write_all(fd: int, data: bytes, offset: int) -> None:
    """Write all of it."""
    written = os.pwrite(fd, data, offset)
    while written < len(data):
        written += os.pwrite(fd, memoryview(data)[written:], offset + written)


def sizes_of(found: Iterable[os.DirEntry[str]]) -> dict[str, int]:
    """Name to size of what a directory holds."""
    sizes = {}
    for entry in found:
        with suppress(FileNotFoundError):  # others go on: renamed or removed since its name was read
            sizes[entry.name] = entry.stat(follow_symlinks=False).st_size
    return sizes


def unseen(error: OSError, *, closed: bool) -> StoreBusy | StoreClosed | StorePathError:
    """The error of a look at other processes, by a name of ours."""
    if closed:
        return StoreClosed("the store was closed meanwhile")
    if error.errno in NO_DESCRIPTORS:
        return StoreBusy("no free file descriptor to see who has the store open")
    return StorePathError(
        error.errno, f"who has the store open cannot be seen: reason={error.strerror}", error.filename
    )
