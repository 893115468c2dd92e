# Made by `python -m tools.make_twins` from local/faces/aio/changes.py; edit that.
"""Waiting until a key changes."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from ....errors import DataError
from ...commands.encoding import Key
from ...engine.wakeups import Kind
from ...runtime.watch import BlockingWaiter
from ..arguments import encode_some_names
from ..waiting import Patience
from .command_base import CommandBase


class BlockingWaits(CommandBase):
    """A face says here how it waits for keys."""

    __slots__ = ()

    def _waiting(self, kind: Kind, names: list[bytes]) -> BlockingWaiter:
        raise NotImplementedError


class BlockingChanges:
    """A watch over some keys, made by `changes`. For one thread or task, within `with`."""

    __slots__ = ("_waiter",)

    def __init__(self, waiter: BlockingWaiter) -> None:
        self._waiter = waiter

    def __enter__(self) -> Self:
        self._waiter.arm()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._waiter.__exit__(kind, error, at)

    def wait(self, timeout: float | None = None) -> bool:
        """True as soon as one of the keys may have changed since the last answer; False after `timeout` seconds (0 or None: never).

        Now and then it is True although nothing changed, so look at the keys. The end of a TTL is no change. `StoreClosed` as soon
        as the handle or the store is closed. May be cancelled.
        """
        waiter = self._waiter
        is_woken = waiter.wait(Patience(timeout).left)
        waiter.arm()
        return is_woken


class BlockingWatching(BlockingWaits):
    """Tells when keys change."""

    __slots__ = ()

    def changes(self, *names: Key, beside: BlockingWatching | None = None) -> BlockingChanges:
        """A watch over keys, for waiting until somebody, in whichever process, writes or deletes one of them.

            with db.changes("job") as changes:
                while (found := db.get("job")) is None:
                    changes.wait()

        What is written behind the beginning of the block is noticed, so look at the keys inside it. `beside` is a handle on another
        keyspace of the same store, whose keys of these names count, too. Waiting costs nothing; a write in another process is
        noticed within a millisecond on Linux, within some elsewhere and through `read_only` handles. Any number may wait.
        """
        keys = encode_some_names(names, (), "changes")
        waiter = self._waiting("changes", keys)
        if beside is not None:
            other = beside._waiting("changes", keys)
            if other.watch is not waiter.watch:
                raise DataError("keys of two stores can not be watched together")
            waiter.wanted += other.wanted
        return BlockingChanges(waiter)
