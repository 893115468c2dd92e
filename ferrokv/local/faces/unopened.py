"""The store of a handle that was made by its constructor and has not been used yet.

The first use opens the store and puts it in the handle, in place of this object. For threads, that
happens wherever the handle asks for its store: the first thread opens, and the others wait.
`async_unopened.py` does it for asyncio, where every method that can wait awaits `ready` first, and
a method that cannot wait raises `StoreClosed`.

If the directory turns out to have been removed or replaced, the handle becomes unopened again, so
that its next use opens what is there then. A handle that `open` returned keeps raising
`StoreReplaced` instead.
"""

from __future__ import annotations

import os
from threading import RLock
from typing import TYPE_CHECKING, NamedTuple
from weakref import ref

from ...errors import DataError, StoreReplaced
from ...options import UNCHANGED, OpenOptions, Options, Quota
from ..commands import keyspaces
from ..log.replica import catch_up
from ..runtime.registry import open_store, release_store
from ..runtime.waiters import WriterRequest
from ..storage.drivers import complete
from .arguments import check_quota

if TYPE_CHECKING:
    from ..runtime.store import Store
    from .reader import Reader


class OpenArguments(NamedTuple):
    """What a handle's constructor was asked to open."""

    path: str
    read_only: bool
    options: OpenOptions
    max_bytes: Quota

    @classmethod
    def checked(
        cls, path: str | os.PathLike[str], read_only: bool, options: OpenOptions, max_bytes: Quota
    ) -> OpenArguments:
        """Check what can be checked without the disk. A relative path counts from the current directory.

        `DataError` for an option that is unknown or out of range.
        """
        Options.checked(options)
        if max_bytes is not UNCHANGED:
            check_quota(max_bytes)
            if read_only:
                raise DataError("a read-only handle cannot set a quota: omit max_bytes")
        return cls(os.path.abspath(os.fspath(path)), read_only, options, max_bytes)

    def open(self, keyspace: str) -> Store:
        """Open the store, and set the keyspace's quota before anybody can write through the handle.

        Blocks.
        """
        store = open_store(self.path, self.options, read_only=self.read_only)
        try:
            self._set_quota(store, keyspace)
        except BaseException:  # also when interrupted: nobody else would release it
            release_store(store)
            raise
        return store

    def _set_quota(self, store: Store, keyspace: str) -> None:
        wanted = self.max_bytes
        if wanted is UNCHANGED:
            return
        engine = store.engine
        complete(catch_up(engine), store.storage)
        if engine.view.catalogue.quotas.get(keyspace) == wanted:
            return
        request = WriterRequest(keyspaces.set_quota, keyspace, (wanted,))
        store.serve(request)
        request.outcome()


class Unopened:
    """Stands in for the store of a handle that has not been used yet. Every use opens the store."""

    def __init__(self, handle: Reader, arguments: OpenArguments, keyspace: str) -> None:
        self._handle = ref(handle)
        self.arguments = arguments
        self._keyspace = keyspace
        self._locks: dict[int, RLock] = {}  # by pid, so that no thread of a parent can hold the child's

    def __getattr__(self, name: str) -> object:
        return getattr(self.require(), name)

    def require(self) -> Store:
        """Return the handle's store, opening it if nobody has. Blocks."""
        handle = self._handle()
        assert handle is not None, "a handle calls this, so there is one"
        pid = os.getpid()
        while True:
            with self._locks.get(pid) or self._locks.setdefault(pid, RLock()):
                if self._is_wanted():
                    store = self.arguments.open(self._keyspace)
                    if not self._install(store):
                        release_store(store)
            held: Store | Unopened = handle._store
            if not isinstance(held, Unopened):
                return held

    def refuse_reentry(self) -> None:
        """Nothing to refuse: no work is running."""

    def end_waiting(self, owner: object) -> None:
        """Nothing to end: nobody can be waiting yet."""

    def _is_wanted(self) -> bool:
        """True until the handle is opened or closed."""
        handle = self._handle()
        held: object = None if handle is None else handle._store
        return held is self

    def _install(self, store: Store) -> bool:
        """Put an open store in the handle.

        False if the handle was opened or closed meanwhile, or if the store was given up: then the
        caller releases the store.
        """
        handle = self._handle()
        if handle is None or _is_given_up(store):
            return False
        # Order: register before installing, and look at the store again afterwards, so that a
        # replacement at any moment reaches the handle.
        store.reopening[id(handle)] = ref(handle)
        if not handle._exchange(self, store):
            handle._leave(store)
            return False
        return not (_is_given_up(store) and handle._exchange(store, self))


def _is_given_up(store: Store) -> bool:
    """True once the directory of an open store turned out to be removed or replaced."""
    try:
        return store.is_replaced
    except StoreReplaced:  # it has even been shut down
        return True
