# Made by `python -m tools.make_twins` from local/faces/aio/snapshots.py; edit that.
"""The commands that only read, and snapshots."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Concatenate, ParamSpec, Self, TypeVar

from ....contract.encoding import Key
from ....errors import StorePathError
from ...engine.engine import named
from ...runtime.closed import ClosedStore
from ...storage.drivers import complete
from ...storage.requests import Op
from ...tree.records import Records
from .hashes import BlockingHashReads
from .keys import BlockingKeyReads
from .lists import BlockingListReads
from .scans import BlockingScans
from .sets import BlockingSetReads
from .sorted_sets import BlockingSortedSetReads
from .strings import BlockingStringReads

P = ParamSpec("P")
T = TypeVar("T")


class BlockingReads(
    BlockingScans,
    BlockingKeyReads,
    BlockingStringReads,
    BlockingListReads,
    BlockingHashReads,
    BlockingSetReads,
    BlockingSortedSetReads,
):
    """The commands that only read."""

    __slots__ = ()

    def get(self, name: Key) -> bytes | None:
        """Return a string's value, or None.

        Reads at most one block per level if memory does not have it.
        """
        found = self._probe(name)
        if found is None or found.__class__ is bytes:
            return found
        return self._read(self._finish_get(found))

    def _read(self, op: Op[T]) -> T:
        storage = self._attended().storage
        try:
            return complete(op, storage)
        except StorePathError:
            raise
        except OSError as error:
            raise named(error, "reading") from error

    def _query(self, command: Callable[Concatenate[Records, P], Op[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        return self._read(self._ask(command, *args, **kwargs))


class BlockingSnapshot(BlockingReads):
    """A keyspace at one moment: the reads of `BlockingFerroKV`. Later writes are invisible; TTLs run."""

    __slots__ = ()

    def close(self) -> None:
        """Release the versions and tables that this snapshot keeps alive. Idempotent."""
        view, self._view = self._view, None
        self._store = ClosedStore("the snapshot was closed")  # type: ignore[assignment]
        if view is not None:
            view.unpin()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_view", None) is not None:
            self.close()
