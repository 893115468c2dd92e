"""The commands that only read, and snapshots."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Concatenate, ParamSpec, Self, TypeVar

from ....contract.encoding import Key
from ....errors import StoreClosed, StorePathError, StoreReplaced
from ...engine.engine import named
from ...runtime.closed import ClosedStore
from ...runtime.store import Store
from ...storage.requests import Op
from ...tree.records import Records
from ..async_unopened import AsyncUnopened
from .hashes import AsyncHashReads
from .keys import AsyncKeyReads
from .lists import AsyncListReads
from .scans import AsyncScans
from .sets import AsyncSetReads
from .sorted_sets import AsyncSortedSetReads
from .strings import AsyncStringReads

if True:  # ASYNC
    from ...storage.adrivers import acomplete
else:
    from ...storage.drivers import complete

P = ParamSpec("P")
T = TypeVar("T")


class AsyncReads(
    AsyncScans,
    AsyncKeyReads,
    AsyncStringReads,
    AsyncListReads,
    AsyncHashReads,
    AsyncSetReads,
    AsyncSortedSetReads,
):
    """The commands that only read."""

    __slots__ = ()

    async def get(self, name: Key) -> bytes | None:
        """Return a string's value, or None.

        Reads at most one block per level if memory does not have it.
        """
        if True:  # ASYNC
            try:
                found = self._probe(name)
            except (StoreClosed, StoreReplaced):
                if not await self._open_first():
                    raise
                found = self._probe(name)
        else:
            found = self._probe(name)
        if found is None or found.__class__ is bytes:
            return found
        return await self._read(self._finish_get(found))

    async def _read(self, op: Op[T]) -> T:
        if True:  # ASYNC
            await self._open_first()
        storage = self._attended().storage
        try:
            if True:  # ASYNC
                return await acomplete(op, storage, self._store.pool)
            else:
                return complete(op, storage)
        except StorePathError:
            raise
        except OSError as error:
            raise named(error, "reading") from error

    async def _query(self, command: Callable[Concatenate[Records, P], Op[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._read(self._ask(command, *args, **kwargs))

    if True:  # ASYNC

        async def _open_first(self) -> bool:
            """Open the store of a handle that has not been used yet. False if that is not the case."""
            store: Store | AsyncUnopened = self._store
            if not isinstance(store, AsyncUnopened):
                return False
            await store.open()
            return True


class Snapshot(AsyncReads):
    """A keyspace at one moment: the reads of `FerroKV`. Later writes are invisible; TTLs run."""

    __slots__ = ()

    def close(self) -> None:
        """Release the versions and tables that this snapshot keeps alive. Idempotent."""
        view, self._view = self._view, None
        self._store = ClosedStore("the snapshot was closed")  # type: ignore[assignment]
        if view is not None:
            view.unpin()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_view", None) is not None:
            self.close()
