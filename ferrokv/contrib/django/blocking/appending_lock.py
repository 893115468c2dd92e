# Made by `python -m tools.make_twins` from contrib/django/aio/appending_lock.py; edit that.
"""Locks inside `pipelined`: the next holder sees what was written under the lock."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Self

from ferrokv import LockError

from ..pipelining import current

if TYPE_CHECKING:
    from ferrokv.contract.blocking.locks import BlockingLock
    from ferrokv.contract.encoding import Expiry, Key


class BlockingAppendingLock:
    """A lock whose release comes after everything the block has collected.

    The release becomes durable together with it. The methods are those of redis-py's lock.
    """

    __slots__ = ("_lock",)

    def __init__(self, lock: BlockingLock) -> None:
        self._lock = lock

    @property
    def name(self) -> Key:
        """The stored key."""
        return self._lock.name

    @property
    def token(self) -> bytes | None:
        """The value stored under the key while this thread has the lock or failed to release it."""
        return self._lock.token

    def acquire(
        self,
        sleep: float | None = None,
        blocking: bool | None = None,
        blocking_timeout: float | None = None,
        token: Key | None = None,
    ) -> bool:
        """Take the lock and return True, or False if somebody else keeps it."""
        return self._lock.acquire(sleep, blocking, blocking_timeout, token)

    def release(self) -> None:
        """Append what the block has collected, then release the lock."""
        pipelined = current()
        try:
            if pipelined is not None:
                pipelined.append()
        finally:
            self._lock.release()

    def locked(self) -> bool:
        """Return True if anybody has the lock."""
        return self._lock.locked()

    def owned(self) -> bool:
        """Return True if this thread still has the lock."""
        return self._lock.owned()

    def extend(self, additional_time: Expiry, replace_ttl: bool = False) -> bool:
        """Extend the lock by `additional_time` seconds. Returns True."""
        return self._lock.extend(additional_time, replace_ttl)

    def reacquire(self) -> bool:
        """Let the lock last its full timeout from now. Returns True."""
        return self._lock.reacquire()

    def __enter__(self) -> Self:
        if self.acquire():
            return self
        raise LockError("Unable to acquire lock within the time specified")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()
