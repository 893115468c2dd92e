"""The commands inside a transaction. They never block, in asyncio or in threads."""

from __future__ import annotations

from typing import Protocol

from .blocking.cache_commands import BlockingCacheCommands
from .blocking.hashes import BlockingHashReads, BlockingHashWrites
from .blocking.keys import BlockingKeyReads, BlockingKeyWrites
from .blocking.lists import BlockingListReads, BlockingListWrites
from .blocking.sets import BlockingSetReads, BlockingSetWrites
from .blocking.sorted_sets import BlockingSortedSetReads, BlockingSortedSetWrites
from .blocking.strings import BlockingStringReads, BlockingStringWrites
from .encoding import Key


class CacheTx(BlockingCacheCommands, Protocol):
    """What the adapters need of a transaction."""

    def keyspace(self, name: str) -> CacheTx:
        """Return the commands of another keyspace in the same transaction."""


class Tx(
    BlockingKeyReads,
    BlockingKeyWrites,
    BlockingStringReads,
    BlockingStringWrites,
    BlockingListReads,
    BlockingListWrites,
    BlockingHashReads,
    BlockingHashWrites,
    BlockingSetReads,
    BlockingSetWrites,
    BlockingSortedSetReads,
    BlockingSortedSetWrites,
    Protocol,
):
    """The argument of the function that `transaction` runs.

    Each command is answered at once, from the newest state and the changes made so far. If a
    command raises, it has changed nothing, and the function may go on. Valid until the function returns.
    """

    def keyspace(self, name: str) -> Tx:
        """Return the commands of another keyspace in the same transaction."""

    def scan(
        self,
        start: Key | None = None,
        end: Key | None = None,
        *,
        prefix: Key | None = None,
        reverse: bool = False,
        limit: int | None = None,
    ) -> list[tuple[bytes, bytes]]:
        """Return (key, value) of string keys in [start, end) with the prefix, up to `limit`."""
