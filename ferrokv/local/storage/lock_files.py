"""File locks: one lock file for each role, and one for each process that has the store open.

The locks are flock(2) on files that serve no other purpose. The rules (H2 and M1 to M4 in
docs/reliability.md): each lock has a descriptor of its own, opened by the process that uses it. A
lock is never converted between shared and exclusive, and never shared with a forked child. Lock
files of roles are never unlinked. Whether a process is alive is known by its lock, which the kernel
releases when the process dies, and never by its pid.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import random
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fcntl import flock
from functools import partial
from threading import RLock
from typing import Final

from .descriptors import with_descriptor
from .requests import Lock, Process, Role

logger = logging.getLogger("ferrokv.local.storage")

OpenFd = Callable[[str, int], int]
"""(name, flags) -> a descriptor of a file of the directory"""

# Waiting means polling, since flock(2) has no timeout. At first it only yields the processor: the
# shortest sleep takes 70 µs or more, a commit holds the write lock for less than that, and a sync
# takes two to five times as long (1.6 times the operations, measured).
SPIN_SECONDS: Final = 0.0005
SPINS: Final = 16  # yields between two attempts; each one releases the GIL, too
ANNOUNCE_SECONDS: Final = 5.0
PAUSE_FIRST: Final = 0.00002
GATE_SECONDS: Final = 1.0
_yield: Final = getattr(os, "sched_yield", partial(time.sleep, 0))
PAUSE_LAST: Final = 0.002
_EXCLUSIVE_NOW: Final = fcntl.LOCK_EX | fcntl.LOCK_NB
# `time.monotonic` stands still in a test that freezes the time (freezegun). Waiting must go on
# there.
steady_seconds: Final = partial(time.clock_gettime, time.CLOCK_MONOTONIC)
PRESENCE: Final = re.compile(r"process-([0-9a-f]{16})\.lock")


fork_gate = RLock()
"""Held while the record of lock descriptors and the open descriptors differ, and during a fork.

That is, from opening a descriptor that will hold a lock until it is recorded, and from forgetting
it until it is closed. So a forked child knows every such descriptor, and can close its copy.
"""


@contextmanager
def closing_descriptors() -> Iterator[None]:
    """Hold the fork gate, but wait for at most GATE_SECONDS.

    When the interpreter exits, a thread that was stopped may hold the gate for good.
    """
    held = fork_gate.acquire(timeout=GATE_SECONDS)
    try:
        yield
    finally:
        if held:
            fork_gate.release()


def renew_fork_gate() -> None:
    """Make a new gate in a forked child, where another thread of the parent may have left it held."""
    global fork_gate
    fork_gate = RLock()


def lock_name(role: Role) -> str:
    """Return the name of a role's lock file."""
    return f"{role}.lock"


def close_fd(fd: int) -> None:
    """Close a descriptor.

    An error is only logged: the descriptor is closed anyway, and synced data is safe.
    """
    try:
        os.close(fd)
    except OSError as error:
        logger.warning("closing a descriptor failed; nothing acknowledged is affected: %s", error)


class LockFiles:
    """The lock files of the roles. They do not exclude threads of one process from each other."""

    def __init__(self, open_fd: OpenFd) -> None:
        self._open_fd = open_fd
        self._fds: dict[Role, int] = {}
        self.flags = os.O_RDWR | os.O_CREAT  # without O_CREAT beside other processes: then the files must exist

    def take(self, request: Lock) -> bool:
        """Return True when the lock is held, False after the timeout or when `until` returns True."""
        role, timeout, until = request
        fd = self._fds.get(role)
        if fd is None:
            fd = self._fd(role)
        try:
            flock(fd, _EXCLUSIVE_NOW)
        except BlockingIOError:
            return _poll(fd, timeout, until)
        return True

    def unlocker(self, role: Role) -> Callable[[], None]:
        """Return a function that releases the lock in one C call, so no signal handler comes first."""
        return partial(flock, self._fd(role), fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the descriptors.

        That releases the locks, unless a forked child has copies of the descriptors.
        """
        with closing_descriptors():
            fds, self._fds = self._fds, {}
            for fd in fds.values():
                close_fd(fd)

    def _fd(self, role: Role) -> int:
        fd = self._fds.get(role)
        if fd is None:
            with fork_gate:
                fd = self._fds[role] = self._open_fd(lock_name(role), self.flags)
        return fd


class Presence:
    """The announcements, which are the lock files of processes: this process's own and the others'."""

    def __init__(self, directory_fd: Callable[[], int], open_fd: OpenFd) -> None:
        self._directory_fd = directory_fd
        self._open_fd = open_fd
        self._name = ""
        self._fd = -1

    def announce(self) -> None:
        """Create and lock the file that stands for this process.

        The text in it is for people to read.
        """
        name = f"process-{os.urandom(8).hex()}.lock"
        with fork_gate:
            self._fd = fd = self._open_fd(name, os.O_RDWR | os.O_CREAT | os.O_EXCL)
            self._name = name
        # Another process may hold a shared lock for a moment, to see whether this one is alive.
        if not _try(fd) and not _poll(fd, ANNOUNCE_SECONDS, None):
            raise OSError(errno.EAGAIN, "the process's own lock file is locked by another process", name)
        program = os.path.basename(sys.argv[0] if sys.argv else "") or "python"
        try:
            os.pwrite(fd, f"{os.getpid()} {time.time_ns() // 1_000_000} {program}".encode(errors="replace"), 0)
        except OSError as error:
            if error.errno not in (
                errno.ENOSPC,
                errno.EDQUOT,
            ):  # on a full disk the name alone will do
                raise

    def others(self, *, sweep: bool) -> list[Process]:
        """List the other processes that are alive, and with `sweep` remove the files of the dead.

        The files are probed with shared locks, so that two processes that probe at the same time do
        not take each other's lock for a sign of life.
        """
        found = []
        for name in sorted(filter(PRESENCE.fullmatch, with_descriptor(lambda: os.listdir(self._directory_fd())))):
            if name == self._name:
                continue
            with fork_gate:
                process = self._probe(name, sweep=sweep)
            if process is not None:
                found.append(process)
        return found

    def _probe(self, name: str, *, sweep: bool) -> Process | None:
        try:
            fd = self._open_fd(name, os.O_RDONLY)
        except (FileNotFoundError, PermissionError):
            return None  # the process has just left, or this one may not read the file
        try:
            if not _try(fd, fcntl.LOCK_SH):
                return _decode(os.pread(fd, 1024, 0))
            if sweep:
                os.unlink(name, dir_fd=self._directory_fd())
        except FileNotFoundError:
            return None
        finally:
            os.close(fd)
        return None

    @property
    def announced(self) -> str:
        """The random part of the name of this process's file; empty if it has none."""
        match = PRESENCE.fullmatch(self._name)
        return match[1] if match else ""

    def is_alive(self, name: str) -> bool:
        """Return False if the process that announced itself as `name` has ended."""
        file_name = f"process-{name}.lock"
        if file_name == self._name or PRESENCE.fullmatch(file_name) is None:
            return True
        with fork_gate:
            try:
                fd = self._open_fd(file_name, os.O_RDONLY)
            except FileNotFoundError:
                return False
            except PermissionError:
                return True
            try:
                return not _try(fd, fcntl.LOCK_SH)
            finally:
                os.close(fd)

    def is_in_place(self) -> bool:
        """Return False if the announcement was removed or replaced, so that others miss this process.

        True if this process has made none.
        """
        if not self._name:
            return True
        try:
            found = os.stat(self._name, dir_fd=self._directory_fd(), follow_symlinks=False)
        except FileNotFoundError:
            return not self._name  # True if another thread has just withdrawn it
        own = os.fstat(self._fd)
        return (found.st_dev, found.st_ino) == (own.st_dev, own.st_ino)

    def withdraw(self) -> None:
        """Remove the announcement. Not for a forked child, where the file is the parent's."""
        if self._name:
            try:
                os.unlink(self._name, dir_fd=self._directory_fd())
            except FileNotFoundError:
                logger.info("the store's directory was emptied while it was open")
            except OSError as error:
                # Without its lock, which is released in any case, the file counts as dead. The next
                # opening removes it.
                logger.warning(
                    "the lock file of this process could not be removed: name=%s reason=%s", self._name, error
                )
        self.forget()

    def forget(self) -> None:
        """Close the descriptor, and leave the file."""
        with closing_descriptors():
            fd, self._fd, self._name = self._fd, -1, ""
            if fd >= 0:
                close_fd(fd)


def _try(fd: int, kind: int = fcntl.LOCK_EX) -> bool:
    try:
        flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _poll(fd: int, timeout: float, until: Callable[[], bool] | None) -> bool:
    if timeout <= 0:
        return False
    began = steady_seconds()
    pause = 0.0
    while True:
        if pause:
            time.sleep(pause * (0.5 + random.random()))  # noqa: S311 - jitter, so that waiters do not wake in step
        for _ in range(1 if pause else SPINS):
            _yield()
            if until is not None and until():
                return False
        if _try(fd):
            return True
        waited = steady_seconds() - began
        if waited > timeout:
            return False
        if waited > SPIN_SECONDS:
            pause = min(pause * 1.3, PAUSE_LAST) or PAUSE_FIRST


def _decode(text: bytes) -> Process:
    """Parse the text of an announcement; if it cannot be parsed, return zeros and "?"."""
    match = re.fullmatch(rb"([0-9]{1,18}) ([0-9]{1,18}) (.*)", text, re.DOTALL)
    if match is None:
        return Process(0, 0, "?")
    return Process(int(match[1]), int(match[2]), match[3].decode(errors="replace"))
