"""The mutex of a key, by which dogpile elects the one that creates a value."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from ferrokv import FerroKVError, LockError, StoreReplaced

if TYPE_CHECKING:
    from ferrokv.contract.blocking.cache import BlockingCacheStore
    from ferrokv.contract.blocking.locks import BlockingLock

logger = logging.getLogger("ferrokv.contrib.dogpile")
# Mutexes whose release failed; others are freed by their timeout or the end of the process.
OWING_MAX: Final = 1024


class FerroKVMutex:
    """A mutex among all threads and processes, freed when its process ends.

    Any thread may release it. Taking and releasing it costs no sync: the next to try comes later in
    the WAL, and if the machine stops, its holder has stopped as well. The value set meanwhile is
    synced as usual.
    """

    def __init__(
        self, locks: BlockingCacheStore, key: bytes, options: Mapping[str, Any], owing: dict[bytes, FerroKVMutex]
    ) -> None:
        self._locks = locks
        self._owing = owing  # the backend's mutexes whose release failed, by key; they know the token
        self._key = key
        self._options = options
        self._made: dict[int, BlockingLock] = {}

    def _lock(self) -> BlockingLock:
        """Return the lock, made on demand: dogpile asks for a mutex at every hit, rarely takes it."""
        pid = os.getpid()  # dogpile may keep a mutex across a fork; its deferral belongs to the parent
        made = self._made.get(pid)
        if made is None:
            lock = self._locks.within(self._locks.deferral()).lock(self._key, **self._options)
            made = self._made.setdefault(pid, lock)  # threads share a mutex, so they use a single lock
        return made

    def acquire(self, wait: bool = True) -> bool:
        """Take the mutex and return True. With `wait=False`, return False if somebody has it."""
        try:
            acquired = self._lock().acquire(blocking=wait)
        except StoreReplaced:
            # The lock was made for a directory that is gone, and nobody holds anything there.
            self._made.clear()
            acquired = self._lock().acquire(blocking=wait)
        if acquired:
            self._owing.pop(self._key, None)
        return acquired

    def release(self) -> None:
        """Release the mutex. If `lock_timeout` has released it already, log that.

        The value was created all the same. After an error, dogpile does not retry, so the backend
        keeps the mutex: the next caller for the key gets this object, and may take the mutex over.
        """
        try:
            self._lock().release()
        except LockError:
            if self._options["timeout"] is None:
                raise
            logger.warning("a mutex was lost to its lock_timeout before its release: key=%r", self._key)
        except FerroKVError:
            if len(self._owing) < OWING_MAX:
                self._owing[self._key] = self
            raise

    def locked(self) -> bool:
        """True if anybody has it."""
        return self._lock().locked()
