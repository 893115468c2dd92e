"""The handles that all caches and sessions of a process share: a pair for each keyspace.

Django creates a cache object per thread or async context and closes it after every request, so
these objects own no handle. A handle lives until the process ends or the directory is replaced, and
keeps working in a forked child.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any
from weakref import ref

from ferrokv import BlockingFerroKV, FerroKV

from ..opening import UNCHANGED, FirstUse, ProcessLock, open_bounded, open_bounded_later

_lock = ProcessLock()
_blocking: dict[tuple[str, str], BlockingFerroKV] = {}
_native: dict[tuple[str, str], FerroKV] = {}
_first_uses: dict[tuple[str, str], FirstUse] = {}
_places: set[ref[Place]] = set()  # only single operations, which are atomic among threads


class Place:
    """A keyspace of a directory, and the options to open it with.

    `max_bytes` is its quota, set when a process first opens it.
    """

    __slots__ = ("__weakref__", "blocking_handle", "keyspace", "max_bytes", "native_handle", "options", "path")

    def __init__(
        self, path: str, keyspace: str, options: Mapping[str, Any] | None = None, max_bytes: Any = UNCHANGED
    ) -> None:
        self.path = path
        self.keyspace = keyspace
        self.options = options or {}
        self.max_bytes = max_bytes
        # For callers that cannot wait; None before it is first opened.
        self.blocking_handle: BlockingFerroKV | None = None
        self.native_handle: FerroKV | None = None
        _places.add(ref(self, _places.discard))

    def beside(self, keyspace: str) -> Place:
        """Return another keyspace of the same store."""
        return Place(self.path, keyspace, self.options)

    def blocking(self) -> BlockingFerroKV:
        """Return the handle for threads. The first call opens the store."""
        handle = self.blocking_handle
        if handle is None:
            key = (self.path, self.keyspace)
            with _lock.own():
                handle = _blocking.get(key)
                if handle is None:
                    quota = UNCHANGED if key in _native else self.max_bytes
                    handle = open_bounded(self.path, self.keyspace, self.options, quota)
                    _blocking[key] = handle
                    handle.when_replaced(partial(_forget, self.path))
            self.blocking_handle = handle
            if _blocking.get(key) is not handle:
                self.blocking_handle = None  # it has just been forgotten
        return handle

    async def native(self) -> FerroKV:
        """Return the handle for event loops. The first call opens the store in a thread."""
        handle = self.native_handle
        if handle is None:
            key = (self.path, self.keyspace)
            handle = _native.get(key)
            if handle is None:
                first_use = _first_uses.setdefault(key, FirstUse())
                handle = await first_use.handle(lambda: _native.get(key), self._open)
            self.native_handle = handle
            if _native.get(key) is not handle:
                self.native_handle = None
        return handle

    async def _open(self) -> FerroKV:
        key = (self.path, self.keyspace)
        quota = UNCHANGED if key in _blocking else self.max_bytes
        opened = await open_bounded_later(self.path, self.keyspace, self.options, quota)
        handle = _native.setdefault(key, opened)
        if handle is not opened:
            await opened.close()  # another event loop was faster
        else:
            handle.when_replaced(partial(_forget, self.path))
        return handle


def _forget(path: str) -> None:
    """The directory was removed or replaced: the next call opens what is there. Any thread."""
    for handles in (_blocking, _native):
        for key in [key for key in list(handles) if key[0] == path]:
            handles.pop(key, None)
    # Order: places last. One that has just taken an old handle checks whether it was forgotten.
    for known in list(_places):
        place = known()
        if place is not None and place.path == path:
            place.blocking_handle = place.native_handle = None


def close_handles(path: str) -> None:
    """Close this process's handles on a directory, which can then be removed; the next use opens it again.

    For tests and for shutting down: whoever uses a cache meanwhile gets `StoreClosed`. Not in a running event loop.
    """
    for key in [key for key in list(_blocking) if key[0] == path]:
        _blocking.pop(key).close()
    native = [_native.pop(key) for key in list(_native) if key[0] == path]
    _forget(path)
    for handle in native:
        asyncio.run(handle.close())
