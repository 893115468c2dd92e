"""`Deferral`: many writes, and one wait for all of them to be durable."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from types import TracebackType
from typing import Self

from ...errors import DataError
from ..runtime.store import Store
from .unsettled import Unsettled


class Deferral:
    """Made by `deferral()`; `within(deferral)` gives the commands of a handle whose writes it gathers.

    A context manager of both kinds, which closes and settles it at its end, also when its block raises. One deferral serves any
    number of handles, keyspaces, threads and event loops on one store. After a fork it belongs to the parent: a child has nothing
    to settle.
    """

    __slots__ = ("_unsettled",)

    def __init__(self, store: Store, keyspace: str) -> None:
        self._unsettled = Unsettled(store, keyspace)

    @property
    def is_inherited(self) -> bool:
        """True in a forked child, to which it does not belong."""
        return self._unsettled.is_inherited

    def unsettled(self, store: Store) -> Unsettled:
        """What the commands of a handle on `store` write to. `DataError` if that is another store."""
        if store is not self._unsettled.store:
            raise DataError("a deferral is used with handles on the store that it was made for")
        return self._unsettled

    def append(self) -> None:
        """Append to the WAL what is gathered, without a sync: the next sync of whoever covers it, and other transactions see it."""
        self._unsettled.append()

    async def aappend(self) -> None:
        """As `append`, awaiting."""
        await self._unsettled.aappend()

    def settle(self) -> None:
        """Wait until all that was written so far, and that its commands saw, is durable, with at most one sync. It can go on.

        Raises the first error of a gathered write, which its caller could not get: then that write, and some behind it, may be
        missing. What forgiving commands wrote is only logged.
        """
        self._unsettled.settle()

    async def asettle(self) -> None:
        """As `settle`, awaiting. Who is cancelled stops waiting; the writes go on."""
        await self.begin_settling()

    def begin_settling(self) -> Awaitable[None]:
        """`asettle` in two steps: all that is left to write is on its way when this returns; what it returns waits."""
        unsettled = self._unsettled
        return unsettled.finish_settling(unsettled.begin_settling(asyncio.get_running_loop()))

    def close(self) -> None:
        """End it, before the last `settle`: what is written through it later is durable when it is answered, as elsewhere."""
        self._unsettled.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
        self.settle()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()
        await self.asettle()
