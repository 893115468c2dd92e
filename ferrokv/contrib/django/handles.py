"""The handles that all caches and sessions of a process share: one pair for each directory and keyspace.

Django makes one cache object for each thread or async context and closes it after every request, so the objects hold no
handle of their own. Handles live until the process ends, and are opened anew in a forked child.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from ferrokv import BlockingFerroKV, FerroKV

_lock = Lock()
_blocking: dict[tuple[int, str, str], BlockingFerroKV] = {}
_native: dict[tuple[int, str, str], FerroKV] = {}


def _new_lock_in_child() -> None:
    global _lock
    _lock = Lock()


os.register_at_fork(after_in_child=_new_lock_in_child)


@dataclass(frozen=True, slots=True)
class Place:
    """A keyspace of a directory, with the options to open it with."""

    path: str
    keyspace: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def blocking(self) -> BlockingFerroKV:
        """The handle for threads; the first call opens the store."""
        key = (os.getpid(), self.path, self.keyspace)
        handle = _blocking.get(key)
        if handle is None:
            with _lock:
                handle = _blocking.get(key)
                if handle is None:
                    handle = BlockingFerroKV.open(self.path, keyspace=self.keyspace, **self.options)
                    _blocking[key] = handle
        return handle

    async def native(self) -> FerroKV:
        """The handle for event loops; the first call opens the store in a thread."""
        key = (os.getpid(), self.path, self.keyspace)
        handle = _native.get(key)
        if handle is None:
            opened = await FerroKV.open(self.path, keyspace=self.keyspace, **self.options)
            handle = _native.setdefault(key, opened)
            if handle is not opened:
                await opened.close()
        return handle
