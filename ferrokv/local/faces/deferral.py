"""`Deferral`: many writes, and a single wait until all of them are durable."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from types import TracebackType
from typing import Self

from ...errors import DataError
from ..runtime.deferrals.driver import DeferralDriver
from ..runtime.store import Store


class Deferral:
    """Collects writes and makes them durable together. Created by `deferral()`.

    `within(deferral)` returns the commands of a handle, writing through the deferral. It is a
    context manager for `with` and `async with`; leaving the block closes and settles it, also when
    the block raises.

    One deferral may serve any number of handles, keyspaces, threads and event loops on one store.
    After a fork it belongs to the parent, and the child has nothing to settle.
    """

    __slots__ = ("_driver",)

    def __init__(self, store: Store, keyspace: str) -> None:
        self._driver = DeferralDriver(store, keyspace)

    @property
    def is_inherited(self) -> bool:
        """True in a forked child, which must not use it."""
        return self._driver.is_inherited

    def append(self) -> None:
        """Append what was collected to the WAL, without a sync.

        From then on, other transactions see it, and anybody's next sync makes it durable.
        """
        self._driver.append()

    async def aappend(self) -> None:
        """As `append`, for asyncio."""
        await self._driver.aappend()

    def settle(self) -> None:
        """Wait until everything written so far, and everything its commands have seen, is durable.

        Costs at most one sync; the deferral can be used again afterwards. Raises the first error of
        a collected write, which could not be reported when it was made: that write, and some made
        after it, may be missing. Errors of forgiving commands are only logged.
        """
        self._driver.settle()

    async def asettle(self) -> None:
        """As `settle`, for asyncio. Cancelling stops the waiting, not the writes."""
        await self.begin_settling()

    def begin_settling(self) -> Awaitable[None]:
        """Start `asettle`, and return an awaitable that finishes it.

        When this returns, everything left to write has been queued.
        """
        driver = self._driver
        return driver.finish_settling(driver.begin_settling(asyncio.get_running_loop()))

    def close(self) -> None:
        """Stop collecting. Later writes through the deferral are durable when they return.

        Call it before the last `settle`.
        """
        self._driver.close()

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


def driver_of(deferral: object, store: Store) -> DeferralDriver:
    """Return the object that the commands of a handle on `store` write to.

    `DataError` if the deferral was made for another store, or by another backend.
    """
    if not isinstance(deferral, Deferral) or deferral._driver.store is not store:
        raise DataError("a deferral works only with handles on the store that it was made for")
    return deferral._driver
