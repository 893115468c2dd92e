# Made by `python -m tools.make_twins` from local/faces/aio/locks.py; edit that.
"""Locks stored under a key, which exclude other threads, tasks and processes."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import local
from types import SimpleNamespace, TracebackType
from typing import Any, Self

from ....contract.encoding import Expiry, Key, encode_key, encode_value
from ....errors import LockError, LockNotOwnedError, StoreFull
from ...commands import locks
from ..arguments import check_seconds, encode_positive_ttl
from .changes import BlockingWaits


class BlockingLock:
    """A lock with the methods of redis-py's, created by `lock`.

    It is freed by `release`, after `timeout`, or when its process ends. A process that closes its
    last handle on the store counts as ended.

    The holder's token is local to its thread unless `thread_local` is False, so another thread
    cannot release the lock by accident. If `release` raises, the object keeps the token: call
    `release` again, or `acquire`, which takes over a lock that the same object failed to release.
    """

    __slots__ = ("_asking", "_blocking", "_blocking_timeout", "_key", "_local", "_ttl_ms", "_whoami", "name")

    def __init__(
        self,
        asking: BlockingWaits,
        whoami: Callable[[], locks.Owners],
        name: Key,
        timeout: Expiry | None,
        sleep: float,
        blocking: bool,
        blocking_timeout: float | None,
        thread_local: bool,
    ) -> None:
        self._asking = asking
        self._whoami = whoami
        self.name = name
        self._key = encode_key(name)
        self._ttl_ms = None if timeout is None else encode_positive_ttl(timeout, "set")
        check_seconds(sleep)
        self._blocking = blocking
        self._blocking_timeout = None if blocking_timeout is None else check_seconds(blocking_timeout)
        self._local: Any = local() if thread_local else SimpleNamespace()

    def __enter__(self) -> Self:
        if self.acquire():
            return self
        raise LockError("Unable to acquire lock within the time specified")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()

    @property
    def token(self) -> bytes | None:
        """The value stored under the key while this thread has the lock or failed to release it."""
        return getattr(self._local, "token", None) or self._owed

    @property
    def _owed(self) -> bytes | None:
        """A token whose release failed. Its lock may or may not be free already."""
        return getattr(self._local, "owed", None)

    def acquire(
        self,
        sleep: float | None = None,
        blocking: bool | None = None,
        blocking_timeout: float | None = None,
        token: Key | None = None,
    ) -> bool:
        """Take the lock and return True, or False if somebody else keeps it.

        Waits for at most `blocking_timeout` seconds, or not at all if `blocking` is False. The
        arguments override those of `lock`; `sleep` is ignored. A waiter is woken when the lock is
        released or expires, and within about a second when the holder's process dies. Waiters in
        one process take the lock in the order they arrived.
        """
        owners = self._whoami()
        own = owners.new_token(None if token is None else encode_value(token))
        check_seconds(sleep or 0)
        wait = self._blocking if blocking is None else blocking
        limit = self._blocking_timeout if blocking_timeout is None else check_seconds(blocking_timeout)
        deadline = None if limit is None else time.monotonic() + limit
        if self._try(own, owners) is not None and not (wait and self._wait(own, owners, deadline)):
            return False
        self._local.token = own
        self._local.owed = None  # what was owed is free, or was taken over
        return True

    def _wait(self, own: bytes, owners: locks.Owners, deadline: float | None) -> bool:
        with self._asking._waiting("locks", [self._key]) as waiter:
            while True:
                # Order: arm before trying, so that a release after the attempt wakes this waiter.
                waiter.arm()
                held = self._try(own, owners)
                if held is None:
                    return True
                waiter.holder = held.announced
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    return False
                if held.left_ms is not None and waiter.is_first:
                    expires = (held.left_ms + 1) / 1000
                    left = expires if left is None else min(left, expires)
                waiter.wait(left)

    def _try(self, own: bytes, owners: locks.Owners) -> locks.Held | None:
        try:
            return self._asking._write(locks.acquire, self._key, own, self._ttl_ms, owners, self._owed)
        except BaseException:
            # The caller was interrupted or cancelled, but the request may still be carried out.
            # Queue a release after it.
            self._asking._write_unawaited(locks.release, self._key, own)
            raise

    def release(self) -> None:
        """Release the lock.

        `LockError` if this thread does not have it, `LockNotOwnedError` if it timed out. After any
        other error it may be called again: it then releases the lock if it is still held, and
        otherwise does nothing. After `StoreFull` or `StoreBusy`, the lock is also released
        automatically as soon as that can be written.
        """
        own = self.token
        if own is None:
            raise LockError("Cannot release an unlocked lock")
        is_first = own != self._owed
        try:
            if is_first:
                # Order: forget the token before the lock is free, since the next holder may share
                # this object.
                self._local.token = None
            released = self._free(own)
        except BaseException:
            # Order: not into `token`, which the next holder may have set already.
            self._local.owed = own
            # The caller was interrupted or cancelled, or there was no room, and it may not try
            # again. Release the lock anyway.
            self._asking._write_unawaited(locks.release, self._key, own)
            raise
        if not is_first and self._owed == own:
            self._local.owed = None
        if is_first and not released:
            raise LockNotOwnedError("Cannot release a lock that's no longer owned")

    def _free(self, own: bytes) -> bool:
        try:
            return self._asking._write(locks.release, self._key, own)
        except StoreFull:
            # The release may have been sent along with a deferral's collected writes, for which
            # there was no room. On its own it only deletes.
            return self._asking._write(locks.release, self._key, own)

    def locked(self) -> bool:
        """Return True if anybody has the lock."""
        return self._asking._query(locks.is_held, self._key, self._whoami())

    def owned(self) -> bool:
        """Return True if this thread still has the lock."""
        own = self.token
        return own is not None and self._asking._query(locks.holds, self._key, own)

    def extend(self, additional_time: Expiry, replace_ttl: bool = False) -> bool:
        """Extend the lock by `additional_time` seconds. Returns True.

        With `replace_ttl`, it lasts that long from now. `LockNotOwnedError` if the lock was lost.
        """
        ttl_ms = encode_positive_ttl(additional_time, "pexpire")
        own = self.token
        if own is None:
            raise LockError("Cannot extend an unlocked lock")
        if self._ttl_ms is None:
            raise LockError("Cannot extend a lock with no timeout")
        if not self._asking._write(locks.extend, self._key, own, ttl_ms, replace_ttl):
            raise LockNotOwnedError("Cannot extend a lock that's no longer owned")
        return True

    def reacquire(self) -> bool:
        """Let the lock last its full `timeout` from now.

        Returns True; `LockNotOwnedError` if it was lost.
        """
        own = self.token
        if own is None:
            raise LockError("Cannot reacquire an unlocked lock")
        if self._ttl_ms is None:
            raise LockError("Cannot reacquire a lock with no timeout")
        if not self._asking._write(locks.extend, self._key, own, self._ttl_ms, True):
            raise LockNotOwnedError("Cannot reacquire a lock that's no longer owned")
        return True


class BlockingLocking(BlockingWaits):
    """Creates locks."""

    __slots__ = ()

    def lock(
        self,
        name: Key,
        timeout: Expiry | None = None,
        sleep: float = 0.1,
        blocking: bool = True,
        blocking_timeout: float | None = None,
        lock_class: type[BlockingLock] | None = None,
        thread_local: bool = True,
    ) -> BlockingLock:
        """Create a lock on a key. It is taken by `acquire`, or by entering it as a context manager.

        A held lock expires after `timeout` seconds (None: never). `acquire` waits for at most
        `blocking_timeout` seconds (None: forever), or not at all if `blocking` is False. `sleep` is
        ignored: waiters are woken. See the lock's class for `thread_local`.
        """
        kind = lock_class or BlockingLock
        return kind(self, self._owners, name, timeout, sleep, blocking, blocking_timeout, thread_local)

    def _owners(self) -> locks.Owners:
        raise NotImplementedError
