# Made by `python -m tools.make_twins` from contract/aio/cache.py; edit that.
"""What the adapters need of a store. A backend that has this much can serve them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

from ..capabilities import Capability
from ..deferrals import Deferral
from ..encoding import Key
from ..transactions import CacheTx
from .cache_commands import BlockingCacheCommands
from .locks import BlockingChanges, BlockingLocking

T = TypeVar("T")


class BlockingCache(BlockingCacheCommands, BlockingLocking, Protocol):
    """The commands of a keyspace, directly or within a deferral."""

    def transaction(self, function: Callable[[CacheTx], T]) -> T:
        """Run `function(tx)` on the newest state, commit what it wrote, and return its result.

        If it raises, nothing is written. It may run in another thread, and must not await, block or
        use another handle. A backend without TRANSACTIONS may run it more than once.
        """


class BlockingCacheStore(BlockingCache, Protocol):
    """A handle on a keyspace."""

    @property
    def capabilities(self) -> frozenset[Capability]:
        """The backend's capabilities."""

    def ready(self) -> BlockingCacheStore:
        """Open the store if this handle has not been used yet. Returns the handle.

        Every command does so by itself. For asyncio, methods that are not awaited (`deferral`,
        `within`, `changes`, `snapshot`, `stats`) raise `StoreClosed` before.
        """

    def close(self) -> None:
        """Close the handle. Idempotent."""

    def keyspace(self, name: str) -> BlockingCacheStore:
        """Return a handle on another keyspace of the same store. Close it separately."""

    def scan_iter(
        self, match: Key | None = None, count: int | None = None, _type: str | None = None
    ) -> Iterator[bytes]:
        """Iterate over keys that match glob and type."""

    def changes(self, *names: Key, also_in: BlockingCacheStore | None = None) -> BlockingChanges:
        """Watch keys, to wait until anybody writes or deletes one of them.

        `also_in` is a handle on another keyspace of the same store, whose keys of the same names are
        watched too.
        """

    def deferral(self) -> Deferral:
        """Return a deferral, which makes many writes durable together."""

    def within(self, deferral: Deferral, *, forgiving: bool = False) -> BlockingCache:
        """Return this handle's commands inside a deferral: they do not wait for durability.

        With `forgiving`, losing collected writes is logged, not raised.
        """
