"""The handles that all caches and sessions of a process share: one pair for each directory and keyspace.

Django makes one cache object for each thread or async context and closes it after every request, so the objects own no handle.
Handles live until the process ends, and work on in a forked child.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ferrokv import BlockingFerroKV, FerroKV

from ..opening import UNCHANGED, FirstUse, ProcessLock, open_bounded, open_bounded_later

_lock = ProcessLock()
_blocking: dict[tuple[str, str], BlockingFerroKV] = {}
_native: dict[tuple[str, str], FerroKV] = {}
_first_uses: dict[tuple[str, str], FirstUse] = {}


class Place:
    """A keyspace of a directory, and the options to open it with. `max_bytes` is its quota, set when a process first opens it."""

    __slots__ = ("blocking_handle", "keyspace", "max_bytes", "native_handle", "options", "path")

    def __init__(
        self, path: str, keyspace: str, options: Mapping[str, Any] | None = None, max_bytes: Any = UNCHANGED
    ) -> None:
        self.path = path
        self.keyspace = keyspace
        self.options = options or {}
        self.max_bytes = max_bytes
        self.blocking_handle: BlockingFerroKV | None = None  # for those who can not wait; None before the first opening
        self.native_handle: FerroKV | None = None

    def beside(self, keyspace: str) -> Place:
        """Another keyspace of the same store."""
        return Place(self.path, keyspace, self.options)

    def blocking(self) -> BlockingFerroKV:
        """The handle for threads; the first call opens the store."""
        handle = self.blocking_handle
        if handle is None:
            key = (self.path, self.keyspace)
            with _lock.own():
                handle = _blocking.get(key)
                if handle is None:
                    quota = UNCHANGED if key in _native else self.max_bytes
                    handle = _blocking[key] = open_bounded(self.path, self.keyspace, self.options, quota)
            self.blocking_handle = handle
        return handle

    async def native(self) -> FerroKV:
        """The handle for event loops; the first call opens the store in a thread."""
        handle = self.native_handle
        if handle is None:
            key = (self.path, self.keyspace)
            handle = _native.get(key)
            if handle is None:
                first_use = _first_uses.setdefault(key, FirstUse())
                handle = await first_use.handle(lambda: _native.get(key), self._open)
            self.native_handle = handle
        return handle

    async def _open(self) -> FerroKV:
        key = (self.path, self.keyspace)
        quota = UNCHANGED if key in _blocking else self.max_bytes
        opened = await open_bounded_later(self.path, self.keyspace, self.options, quota)
        handle = _native.setdefault(key, opened)
        if handle is not opened:
            await opened.close()  # another event loop was faster
        return handle
