"""flock(2) on files of their own: one for each role, and one for each process that has the store open.

Rules (reliability H2, M1-M4): one descriptor for each lock, opened by the process that uses it; never converted, never shared
with a forked child, and the files of roles never unlinked. Liveness is a lock that the kernel frees at death, never a pid.
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

# Waiting is polling, since flock(2) knows no time limit. At first the processor is only yielded: the shortest sleep takes 70 µs and
# more, a commit holds the write lock for less, and a sync takes twice to five times that (1.6 times the operations, measured).
SPIN_SECONDS: Final = 0.0005
SPINS: Final = 16  # yields between two tries, each of which gives up the interpreter, too
ANNOUNCE_SECONDS: Final = 5.0
PAUSE_FIRST: Final = 0.00002
GATE_SECONDS: Final = 1.0
_yield: Final = getattr(os, "sched_yield", partial(time.sleep, 0))
PAUSE_LAST: Final = 0.002
_EXCLUSIVE_NOW: Final = fcntl.LOCK_EX | fcntl.LOCK_NB
# `time.monotonic` may stand still in a test that stops the time (freezegun); a wait for another process must not.
steady_seconds: Final = partial(time.clock_gettime, time.CLOCK_MONOTONIC)
PRESENCE: Final = re.compile(r"process-([0-9a-f]{16})\.lock")


fork_gate = RLock()
"""Held from the opening of a descriptor that will carry a lock until it is recorded, from its being forgotten until it is closed,
and during a fork: a forked child must know every such descriptor, so that it can close its copy."""


@contextmanager
def closing_descriptors() -> Iterator[None]:
    """Hold the gate, but do not wait for ever: at the interpreter's end a thread that was stopped may have it."""
    held = fork_gate.acquire(timeout=GATE_SECONDS)
    try:
        yield
    finally:
        if held:
            fork_gate.release()


def renew_fork_gate() -> None:
    """In a forked child: another thread of the parent may have waited for it."""
    global fork_gate
    fork_gate = RLock()


def lock_name(role: Role) -> str:
    """The file that the holders of a role lock."""
    return f"{role}.lock"


def close_fd(fd: int) -> None:
    """Close a descriptor. An error is logged: the descriptor is gone all the same, and what was synced is not touched by it."""
    try:
        os.close(fd)
    except OSError as error:
        logger.warning("closing a descriptor failed, which harms nothing that was acknowledged: %s", error)


class LockFiles:
    """The lock files of the roles. Threads of one process must keep each other out by other means."""

    def __init__(self, open_fd: OpenFd) -> None:
        self._open_fd = open_fd
        self._fds: dict[Role, int] = {}
        self.flags = os.O_RDWR | os.O_CREAT  # without O_CREAT beside others, whose lock files must be there

    def take(self, request: Lock) -> bool:
        """True once the lock is held; False if somebody else has it after the time, or there is nothing to wait for."""
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
        """One C call that lets go, so that no handler of a signal can come before it."""
        return partial(flock, self._fd(role), fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the descriptors, which lets go of what is held, unless a forked child has copies."""
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
    """This process's announcement, and those of others."""

    def __init__(self, directory_fd: Callable[[], int], open_fd: OpenFd) -> None:
        self._directory_fd = directory_fd
        self._open_fd = open_fd
        self._name = ""
        self._fd = -1

    def announce(self) -> None:
        """Make and lock the file that stands for this process. The text in it is for people."""
        name = f"process-{os.urandom(8).hex()}.lock"
        with fork_gate:
            self._fd = fd = self._open_fd(name, os.O_RDWR | os.O_CREAT | os.O_EXCL)
            self._name = name
        # Somebody may be looking at the file at this moment, with a shared lock.
        if not _try(fd) and not _poll(fd, ANNOUNCE_SECONDS, None):
            raise OSError(errno.EAGAIN, "the process's own lock file is locked by another process", name)
        program = os.path.basename(sys.argv[0] if sys.argv else "") or "python"
        try:
            os.pwrite(fd, f"{os.getpid()} {time.time_ns() // 1_000_000} {program}".encode(errors="replace"), 0)
        except OSError as error:
            if error.errno not in (
                errno.ENOSPC,
                errno.EDQUOT,
            ):  # a full disk has room for the name, which is what counts
                raise

    def others(self, *, sweep: bool) -> list[Process]:
        """The living. Probed by shared locks, which do not take each other for a sign of life."""
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
            return None  # it has just gone, or is not for this reader's eyes
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
        """The random part of the name of this process's file."""
        match = PRESENCE.fullmatch(self._name)
        return match[1] if match else ""

    def is_alive(self, name: str) -> bool:
        """True unless the process that was announced by `name` has ended."""
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
        """False if the announcement was removed: then others believe that nobody is here. True also without one."""
        if not self._name:
            return True
        try:
            found = os.stat(self._name, dir_fd=self._directory_fd(), follow_symlinks=False)
        except FileNotFoundError:
            return not self._name  # or it was just taken back
        own = os.fstat(self._fd)
        return (found.st_dev, found.st_ino) == (own.st_dev, own.st_ino)

    def withdraw(self) -> None:
        """Take the announcement back. Not for a forked child, where the file is the parent's."""
        if self._name:
            try:
                os.unlink(self._name, dir_fd=self._directory_fd())
            except FileNotFoundError:
                logger.info("the store's directory was emptied while it was open")
            except OSError as error:
                # Without its lock, which goes in any case, the file stands for nobody, and the next opening removes it.
                logger.warning(
                    "the lock file of this process could not be removed: name=%s reason=%s", self._name, error
                )
        self.forget()

    def forget(self) -> None:
        """Close the descriptor only."""
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
            time.sleep(pause * (0.5 + random.random()))  # noqa: S311 - jitter against marching in step
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
    """What an announcement says; zeros where it says nothing that can be read."""
    match = re.fullmatch(rb"([0-9]{1,18}) ([0-9]{1,18}) (.*)", text, re.DOTALL)
    if match is None:
        return Process(0, 0, "?")
    return Process(int(match[1]), int(match[2]), match[3].decode(errors="replace"))
