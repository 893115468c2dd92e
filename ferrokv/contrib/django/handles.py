"""The handles that all caches and sessions of a process share: a pair for each keyspace.

Django creates a cache object per thread or async context and closes it after every request, so
these objects own no handle. A handle opens the store at its first use, lives until the process
ends, and keeps working in a forked child and after the directory was replaced.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import shutil
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.util import Finalize
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any
from weakref import ref

from ferrokv import connect, connect_blocking
from ferrokv.options import UNCHANGED, OpenOptions, Quota

if TYPE_CHECKING:
    from ferrokv.contract.aio.stores import AsyncStore
    from ferrokv.contract.blocking.stores import BlockingStore

Key = tuple[str, str, Quota, tuple[tuple[str, object], ...]]
"""Path, keyspace, quota and options of a handle."""
_blocking: dict[Key, BlockingStore] = {}
_native: dict[Key, AsyncStore] = {}
_locations: set[ref[CacheLocation]] = set()  # only single operations, which are atomic among threads


class CacheLocation:
    """A keyspace of a store, and the options to open it with.

    `path` is a directory or a URL. `max_bytes` is the keyspace's quota, set when a process first
    opens it. `blocking` and `native` are the handles for threads and for event loops.
    """

    __slots__ = ("__weakref__", "blocking", "keyspace", "max_bytes", "native", "options", "path")

    def __init__(
        self, path: str, keyspace: str, options: OpenOptions | None = None, max_bytes: Quota = UNCHANGED
    ) -> None:
        self.path = path
        self.keyspace = keyspace
        self.options = options or {}
        self.max_bytes = max_bytes
        self.blocking: BlockingStore
        self.native: AsyncStore
        _locations.add(ref(self, _locations.discard))
        self.take_handles()

    def take_handles(self) -> None:
        """Take the handles of this process, which are made if there are none."""
        key = (self.path, self.keyspace, self.max_bytes, tuple(sorted(self.options.items())))
        # `setdefault` is atomic among threads; a handle that is made in vain has opened nothing.
        self.blocking = _blocking.get(key) or _blocking.setdefault(
            key, connect_blocking(self.path, keyspace=self.keyspace, max_bytes=self.max_bytes, **self.options)
        )
        self.native = _native.get(key) or _native.setdefault(
            key, connect(self.path, keyspace=self.keyspace, max_bytes=self.max_bytes, **self.options)
        )

    def sibling(self, keyspace: str) -> CacheLocation:
        """Return another keyspace of the same store."""
        return CacheLocation(self.path, keyspace, self.options)


def close_handles(path: str) -> None:
    """Close this process's handles on a directory, which can then be removed; the next use opens it again.

    For tests and for shutting down: whoever uses a cache meanwhile gets `StoreClosed`. Blocks, also a running event loop.
    """
    closing = [_blocking.pop(key) for key in list(_blocking) if key[0] == path]
    native = [_native.pop(key) for key in list(_native) if key[0] == path]
    for known in list(_locations):
        location = known()
        if location is not None and location.path == path:
            location.take_handles()
    for handle in closing:
        handle.close()
    for one in native:
        _run_elsewhere(one.close)


def _run_elsewhere(close: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with ThreadPoolExecutor(1) as thread:  # this one may be running an event loop
        try:
            done = thread.submit(lambda: asyncio.run(close()))
        except RuntimeError:  # the interpreter is exiting, and no loop runs any more
            asyncio.run(close())
        else:
            done.result()


def make_temporary(prefix: str) -> str:
    """Make a directory for a store, which is closed and removed when this process ends.

    Children that are forked later use it, too, and leave it alone.
    """
    path = mkdtemp(prefix=prefix)
    owner = os.getpid()

    def remove() -> None:
        if os.getpid() == owner and os.path.exists(path):
            close_handles(path)
            shutil.rmtree(path, ignore_errors=True)

    atexit.register(remove)
    Finalize(None, remove, exitpriority=10)  # in a child of multiprocessing, which runs no exit handlers
    return path
