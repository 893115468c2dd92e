"""Probing a file system for what a store needs, if its type does not say.

That is the case for virtiofs, 9p, vboxsf and everything by FUSE. A store needs locks that exclude
other descriptors, shared mappings that see each other's changes, and syncs that work. Whether these
work between two hosts cannot be tried from one host, so network file systems are refused by their
type (directory.py).
"""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any, NamedTuple

from ...errors import StorePathError

_PAGE_BYTES = 4096


class Calls(NamedTuple):
    """The system calls to try. Tests replace them."""

    flock: Callable[[int, int], Any] = fcntl.flock
    map: Callable[[int, int], Any] = mmap.mmap
    fsync: Callable[[int], Any] = os.fsync


def probe(path: str, calls: Calls | None = None) -> None:
    """Raise `StorePathError` if the file system of the directory lacks something.

    Leaves no file behind.
    """
    calls = calls or Calls()
    name = os.path.join(path, f"probe-{os.urandom(8).hex()}.tmp")
    tried = "making a file"
    try:
        with ExitStack() as stack:
            first = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            stack.callback(os.close, first)
            stack.callback(_remove, name)
            os.pwrite(first, bytes(_PAGE_BYTES), 0)
            second = os.open(name, os.O_RDWR | os.O_CLOEXEC)
            stack.callback(os.close, second)
            tried = "a lock that keeps another descriptor out"
            found = _excludes(calls, first, second)
            if found:
                tried = "a shared mapping that another one sees"
                found = _maps_shared(calls, first, second)
            if found:
                tried = "a sync of a file and of its directory"
                calls.fsync(first)
                directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                stack.callback(os.close, directory)
                calls.fsync(directory)
    except OSError as error:
        raise _lacking(path, tried, error.strerror) from error
    if not found:
        raise _lacking(path, tried, "it has no effect")


def _excludes(calls: Calls, first: int, second: int) -> bool:
    calls.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        calls.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        calls.flock(first, fcntl.LOCK_UN)
        return True
    return False


def _maps_shared(calls: Calls, first: int, second: int) -> bool:
    with calls.map(first, _PAGE_BYTES) as one, calls.map(second, _PAGE_BYTES) as other:
        one[0:8] = b"ferrokv!"
        return bool(other[0:8] == b"ferrokv!")


def _remove(name: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name)


def _lacking(path: str, tried: str, reason: str | None) -> StorePathError:
    return StorePathError(f"the file system of the store's directory lacks {tried}: path={path} reason={reason}")
