# Made by `python -m tools.make_twins` from contract/aio/stores.py; edit that.
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
from .cache import BlockingCacheStore
from .hashes import BlockingHashReads, BlockingHashWrites
from .keys import BlockingKeyReads, BlockingKeyWrites
from .lists import BlockingListReads, BlockingListWrites
from .locks import BlockingChanges, BlockingLocking
from .scans import BlockingScans
from .sets import BlockingSetReads, BlockingSetWrites
from .sorted_sets import BlockingSortedSetReads, BlockingSortedSetWrites
from .strings import BlockingStringReads, BlockingStringWrites

T = TypeVar("T")


class BlockingDataReads(
    BlockingKeyReads,
    BlockingStringReads,
    BlockingListReads,
    BlockingHashReads,
    BlockingSetReads,
    BlockingSortedSetReads,
    Protocol,
):
    """The commands that only read."""


class BlockingCommands(
    BlockingDataReads,
    BlockingKeyWrites,
    BlockingStringWrites,
    BlockingListWrites,
    BlockingHashWrites,
    BlockingSetWrites,
    BlockingSortedSetWrites,
    BlockingLocking,
    Protocol,
):
    """The commands of a keyspace, directly or within a deferral."""

    def transaction(self, function: Callable[[Tx], T]) -> T:
        """Run `function(tx)` on the newest state, commit what it wrote, and return its result.

        If it raises, nothing is written. It may run in another thread, and must not await, block or
        use another handle. A backend without TRANSACTIONS may run it more than once.
        """


class BlockingSnapshot(BlockingDataReads, BlockingScans, Protocol):
    """A keyspace at one moment."""

    def close(self) -> None:
        """Release what the snapshot keeps. Idempotent."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None, /
    ) -> None: ...


class BlockingPipeline(QueuedCommands, Protocol):
    """Commands that are queued and run together."""

    def __len__(self) -> int: ...

    def multi(self) -> None:
        """Queue commands from now on, after `watch`."""

    def watch(self, *names: Key) -> bool:
        """Watch keys: `execute` raises `WatchError` if one of them changes first. Returns True."""

    def unwatch(self) -> bool:
        """Stop watching all keys. Returns True."""

    def reset(self) -> None:
        """Discard all commands and watches, so that the pipeline can be reused."""

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Run all commands and return their answers in order."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...


class BlockingStore(BlockingCommands, BlockingScans, Protocol):
    """A handle on a keyspace. Use it as a context manager, or `close` it."""

    @property
    def capabilities(self) -> frozenset[Capability]:
        """The backend's capabilities."""

    def ready(self) -> Self:
        """Open the store if this handle has not been used yet. Returns the handle.

        Every command does so by itself. For asyncio, methods that are not awaited (`deferral`,
        `within`, `changes`, `snapshot`, `stats`) raise `StoreClosed` before.
        """

    def close(self) -> None:
        """Close the handle. Idempotent."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None, /
    ) -> None: ...

    def keyspace(self, name: str) -> BlockingStore:
        """Return a handle on another keyspace of the same store. Close it separately."""

    def snapshot(self) -> BlockingSnapshot:
        """Return a read-only view of the keyspace as it is now. Close it when done."""

    def pipeline(self, transaction: bool = True, shard_hint: None = None) -> BlockingPipeline:
        """Return an empty pipeline. The arguments are redis-py's, and change nothing."""

    def changes(self, *names: Key, also_in: BlockingCacheStore | None = None) -> BlockingChanges:
        """Watch keys, to wait until anybody writes or deletes one of them."""

    def deferral(self) -> Deferral:
        """Return a deferral, which makes many writes durable together."""

    def within(self, deferral: Deferral, *, forgiving: bool = False) -> BlockingCommands:
        """Return this handle's commands inside a deferral: they do not wait for durability.

        With `forgiving`, losing collected writes is logged, not raised.
        """

    def flush(self) -> bool:
        """Move all writes from the log to permanent storage. Returns True."""

    def compact(self) -> bool:
        """Reclaim the space of what was deleted, replaced or has expired. Returns True."""

    def stats(self) -> Stats:
        """Return figures on the whole store."""

    def verify(self, progress: Progress | None = None) -> VerifyReport:
        """Check the whole store by reading every byte of it; returns a report."""

    def backup(self, target: str | os.PathLike[str], progress: Progress | None = None) -> BackupReport:
        """Copy the whole store, as of one moment, to a new directory."""
