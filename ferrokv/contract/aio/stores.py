"""A whole store: what `ferrokv.connect` returns."""

from __future__ import annotations

import os
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from ...stats import BackupReport, Progress, Stats, VerifyReport
from ..capabilities import Capability
from ..deferrals import Deferral
from ..encoding import Key
from ..queued import QueuedCommands
from ..transactions import Tx
from .cache import AsyncCacheStore
from .hashes import AsyncHashReads, AsyncHashWrites
from .keys import AsyncKeyReads, AsyncKeyWrites
from .lists import AsyncListReads, AsyncListWrites
from .locks import AsyncChanges, AsyncLocking
from .scans import AsyncScans
from .sets import AsyncSetReads, AsyncSetWrites
from .sorted_sets import AsyncSortedSetReads, AsyncSortedSetWrites
from .strings import AsyncStringReads, AsyncStringWrites

T = TypeVar("T")


class AsyncDataReads(
    AsyncKeyReads,
    AsyncStringReads,
    AsyncListReads,
    AsyncHashReads,
    AsyncSetReads,
    AsyncSortedSetReads,
    Protocol,
):
    """The commands that only read."""


class AsyncCommands(
    AsyncDataReads,
    AsyncKeyWrites,
    AsyncStringWrites,
    AsyncListWrites,
    AsyncHashWrites,
    AsyncSetWrites,
    AsyncSortedSetWrites,
    AsyncLocking,
    Protocol,
):
    """The commands of a keyspace, directly or within a deferral."""

    async def transaction(self, function: Callable[[Tx], T]) -> T:
        """Run `function(tx)` on the newest state, commit what it wrote, and return its result.

        If it raises, nothing is written. It may run in another thread, and must not await, block or
        use another handle. A backend without TRANSACTIONS may run it more than once.
        """


class AsyncSnapshot(AsyncDataReads, AsyncScans, Protocol):
    """A keyspace at one moment."""

    def close(self) -> None:
        """Release what the snapshot keeps. Idempotent."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None, /
    ) -> None: ...


class AsyncPipeline(QueuedCommands, Protocol):
    """Commands that are queued and run together."""

    def __len__(self) -> int: ...

    def multi(self) -> None:
        """Queue commands from now on, after `watch`."""

    async def watch(self, *names: Key) -> bool:
        """Watch keys: `execute` raises `WatchError` if one of them changes first. Returns True."""

    async def unwatch(self) -> bool:
        """Stop watching all keys. Returns True."""

    async def reset(self) -> None:
        """Discard all commands and watches, so that the pipeline can be reused."""

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Run all commands and return their answers in order."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *error: object) -> None: ...


class AsyncStore(AsyncCommands, AsyncScans, Protocol):
    """A handle on a keyspace. Use it as a context manager, or `close` it."""

    @property
    def capabilities(self) -> frozenset[Capability]:
        """The backend's capabilities."""

    async def ready(self) -> Self:
        """Open the store if this handle has not been used yet. Returns the handle.

        Every command does so by itself. For asyncio, methods that are not awaited (`deferral`,
        `within`, `changes`, `snapshot`, `stats`) raise `StoreClosed` before.
        """

    async def close(self) -> None:
        """Close the handle. Idempotent."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None, /
    ) -> None: ...

    def keyspace(self, name: str) -> AsyncStore:
        """Return a handle on another keyspace of the same store. Close it separately."""

    def snapshot(self) -> AsyncSnapshot:
        """Return a read-only view of the keyspace as it is now. Close it when done."""

    def pipeline(self, transaction: bool = True, shard_hint: None = None) -> AsyncPipeline:
        """Return an empty pipeline. The arguments are redis-py's, and change nothing."""

    def changes(self, *names: Key, also_in: AsyncCacheStore | None = None) -> AsyncChanges:
        """Watch keys, to wait until anybody writes or deletes one of them."""

    def deferral(self) -> Deferral:
        """Return a deferral, which makes many writes durable together."""

    def within(self, deferral: Deferral, *, forgiving: bool = False) -> AsyncCommands:
        """Return this handle's commands inside a deferral: they do not wait for durability.

        With `forgiving`, losing collected writes is logged, not raised.
        """

    async def flush(self) -> bool:
        """Move all writes from the log to permanent storage. Returns True."""

    async def compact(self) -> bool:
        """Reclaim the space of what was deleted, replaced or has expired. Returns True."""

    def stats(self) -> Stats:
        """Return figures on the whole store."""

    async def verify(self, progress: Progress | None = None) -> VerifyReport:
        """Check the whole store by reading every byte of it; returns a report."""

    async def backup(self, target: str | os.PathLike[str], progress: Progress | None = None) -> BackupReport:
        """Copy the whole store, as of one moment, to a new directory."""
