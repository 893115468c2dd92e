"""The mutex of a key: dogpile elects with it the one who creates a value."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any, Final

from ferrokv import BlockingFerroKV, BlockingLock, FerroKVError, LockError

logger = logging.getLogger("ferrokv.contrib.dogpile")
OWING_MAX: Final = 1024  # mutexes whose release failed; what is more is freed by its timeout or the end of the process


class FerroKVMutex:
    """Held by one among all threads and processes, and freed when its process ends. Another thread may release it.

    Taking and releasing it costs no sync: whoever tries for it next is behind both in the WAL, and if the machine stops, its holder
    has stopped as well. The value that is set meanwhile is synced as ever.
    """

    def __init__(
        self, locks: BlockingFerroKV, key: bytes, options: Mapping[str, Any], owing: dict[bytes, FerroKVMutex]
    ) -> None:
        self._locks = locks
        self._owing = owing  # by key, of the backend: those whose release failed, which know the token
        self._key = key
        self._options = options
        self._made: dict[int, BlockingLock] = {}

    def _lock(self) -> BlockingLock:
        """The lock, made when it is needed: dogpile asks for a mutex at every hit, and hardly ever takes it."""
        pid = os.getpid()  # dogpile may keep a mutex of before a fork, whose deferral is the parent's
        made = self._made.get(pid)
        if made is None:
            lock = self._locks.within(self._locks.deferral()).lock(self._key, **self._options)
            made = self._made.setdefault(pid, lock)  # threads share a mutex: one of theirs for all
        return made

    def acquire(self, wait: bool = True) -> bool:
        """True once it is held by this object; False if somebody has it and `wait` is False."""
        acquired = self._lock().acquire() if wait else self._lock().acquire(blocking=False)
        if acquired:
            self._owing.pop(self._key, None)
        return acquired

    def release(self) -> None:
        """Free it. If `lock_timeout` has done so already, that is logged: the value was created all the same.

        After an error the backend keeps it, for dogpile does not try twice: the next to ask for the key gets it, and may take it.
        """
        try:
            self._lock().release()
        except LockError:
            if self._options["timeout"] is None:
                raise
            logger.warning("a mutex was lost to its lock_timeout before it was released: key=%r", self._key)
        except FerroKVError:
            if len(self._owing) < OWING_MAX:
                self._owing[self._key] = self
            raise

    def locked(self) -> bool:
        """True if anybody has it."""
        return self._lock().locked()
