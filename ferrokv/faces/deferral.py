"""`Deferral`: many writes, and one wait for all of them to be durable."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from ..errors import DataError
from ..runtime.store import Store
from .unsettled import Unsettled


class Deferral:
    """Made by `deferral()`; `within(deferral)` gives the commands of a handle whose writes it gathers.

    A context manager of both kinds, which settles at its end, also when its block raises. One deferral serves any number of
    handles, keyspaces, threads and event loops on one store. After a fork it belongs to the parent: a child has nothing to settle.
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
        """Wait until all that was written so far is durable, with at most one sync. It can be used again.

        Raises the first error of a gathered write that its caller could not get: that write, and some behind it, may be missing.
        """
        self._unsettled.settle()

    async def asettle(self) -> None:
        """As `settle`, awaiting. Who is cancelled stops waiting; the writes go on."""
        await self._unsettled.asettle()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.settle()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.asettle()
