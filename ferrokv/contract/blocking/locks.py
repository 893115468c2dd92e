# Made by `python -m tools.make_twins` from contract/aio/locks.py; edit that.
"""Locks stored under a key, and watching keys for changes."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self

from ..encoding import Expiry, Key


class BlockingLock(Protocol):
    """A lock with the methods of redis-py's. `lock` of a handle makes one.

    "This thread" is the one that the event loop runs in; all tasks of a loop share it.
    """

    @property
    def name(self) -> Key:
        """The key, as it was given to `lock`."""

    @property
    def token(self) -> bytes | None:
        """The value stored under the key while this thread has the lock or failed to release it."""

    def acquire(
        self,
        sleep: float | None = None,
        blocking: bool | None = None,
        blocking_timeout: float | None = None,
        token: Key | None = None,
    ) -> bool:
        """Take the lock and return True, or False if somebody else keeps it."""

    def release(self) -> None:
        """Release the lock.

        `LockError` if this thread does not have it, `LockNotOwnedError` if it timed out.
        """

    def locked(self) -> bool:
        """Return True if anybody has the lock."""

    def owned(self) -> bool:
        """Return True if this thread still has the lock."""

    def extend(self, additional_time: Expiry, replace_ttl: bool = False) -> bool:
        """Extend the lock by `additional_time` seconds. Returns True.

        With `replace_ttl`, it lasts that long from now. `LockNotOwnedError` if the lock was lost.
        """

    def reacquire(self) -> bool:
        """Let the lock last its full timeout from now. Returns True."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None, /
    ) -> None: ...


class BlockingChanges(Protocol):
    """A watch over some keys, from the beginning of its `with` block. `changes` of a handle makes one."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None, /
    ) -> None: ...

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until one of the keys may have changed since the last call, and return True.

        Returns False after `timeout` seconds; 0 or None waits forever.
        """


class BlockingLocking(Protocol):
    """Creates locks."""

    def lock(
        self,
        name: Key,
        timeout: Expiry | None = None,
        sleep: float = 0.1,
        blocking: bool = True,
        blocking_timeout: float | None = None,
        *,
        thread_local: bool = True,
    ) -> BlockingLock:
        """Create a lock on a key.

        A held lock expires after `timeout` seconds (None: never). `acquire` waits for at most
        `blocking_timeout` seconds (None: forever), or not at all if `blocking` is False. Another
        thread can release it only if `thread_local` is False.
        """
