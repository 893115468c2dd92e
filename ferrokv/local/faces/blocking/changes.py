# Made by `python -m tools.make_twins` from local/faces/aio/changes.py; edit that.
"""Waiting until a key changes."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from ....contract.encoding import Key
from ....errors import DataError
from ...engine.wakeups import Kind
from ...runtime.watch import BlockingWaiter
from ..arguments import encode_some_names
from ..waiting import Patience
from .command_base import CommandBase


class BlockingWaits(CommandBase):
    """A handle implements this method to say how it waits for keys."""

    __slots__ = ()

    def _waiting(self, kind: Kind, names: list[bytes]) -> BlockingWaiter:
        raise NotImplementedError


class BlockingChanges:
    """A watch over some keys, created by `changes`.

    Use it in a `with` block, in one thread or task.
    """

    __slots__ = ("_waiter",)

    def __init__(self, waiter: BlockingWaiter) -> None:
        self._waiter = waiter

    def __enter__(self) -> Self:
        self._waiter.arm()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._waiter.__exit__(kind, error, at)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until one of the keys may have changed since the last call, and return True.

        Returns False after `timeout` seconds; 0 or None waits forever. It may return True although
        nothing changed, so check the keys. A key that expires does not count as a change. Raises
        `StoreClosed` as soon as the handle or the store is closed. May be cancelled.
        """
        waiter = self._waiter
        is_woken = waiter.wait(Patience(timeout).left)
        waiter.arm()
        return is_woken


class BlockingWatching(BlockingWaits):
    """Reports when keys change."""

    __slots__ = ()

    def changes(self, *names: Key, also_in: object = None) -> BlockingChanges:
        """Watch keys, to wait until any process writes or deletes one of them.

            with db.changes("job") as changes:
                while (found := db.get("job")) is None:
                    changes.wait()

        Changes count from the beginning of the block, so check the keys inside it. `also_in` is a
        handle on another keyspace of the same store, whose keys of the same names are watched too.
        Waiting uses no CPU. On Linux, a write in another process is noticed within a millisecond;
        elsewhere, and through `read_only` handles, within a few milliseconds. Any number of callers
        may wait.
        """
        keys = encode_some_names(names, (), "changes")
        waiter = self._waiting("changes", keys)
        if also_in is not None:
            if not isinstance(also_in, BlockingWatching):
                raise DataError("keys of two stores cannot be watched together")
            other = also_in._waiting("changes", keys)
            if other.watch is not waiter.watch:
                raise DataError("keys of two stores cannot be watched together")
            waiter.wanted += other.wanted
        return BlockingChanges(waiter)
