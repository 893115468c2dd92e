"""The commands that only read, and snapshots, for asyncio."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Concatenate, ParamSpec, Self, TypeVar

from ...contract.encoding import Key
from ...errors import StoreClosed, StorePathError, StoreReplaced
from ..engine.engine import named
from ..runtime.closed import ClosedStore
from ..runtime.store import Store
from ..storage.adrivers import acomplete
from ..storage.requests import Op
from ..tree.records import Records
from .aio.hashes import AsyncHashReads
from .aio.keys import AsyncKeyReads
from .aio.lists import AsyncListReads
from .aio.scans import AsyncScans
from .aio.sets import AsyncSetReads
from .aio.sorted_sets import AsyncSortedSetReads
from .aio.strings import AsyncStringReads
from .async_unopened import AsyncUnopened

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
        try:
            found = self._probe(name)
        except (StoreClosed, StoreReplaced):
            if not isinstance(self._store, AsyncUnopened):
                raise
            await self._store.open()
            found = self._probe(name)
        if found is None or found.__class__ is bytes:
            return found
        return await self._read(self._finish_get(found))

    async def _read(self, op: Op[T]) -> T:
        store: Store | AsyncUnopened = self._store
        if isinstance(store, AsyncUnopened):
            await store.open()
        storage = self._attended().storage
        try:
            return await acomplete(op, storage, self._store.pool)
        except StorePathError:
            raise
        except OSError as error:
            raise named(error, "reading") from error

    async def _query(self, command: Callable[Concatenate[Records, P], Op[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._read(self._ask(command, *args, **kwargs))


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
