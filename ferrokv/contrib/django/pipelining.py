"""One sync for everything that a block writes: `with cache.pipelined():`, or the middleware.

Everything that the current thread or task writes through any ferrokv cache, and through the session
store, goes into deferrals (`FerroKV.deferral`), one per store, which are settled when the block
ends. Blocks may be nested. Each ends with its writes durable.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar, Token
from threading import Lock
from types import TracebackType
from typing import TYPE_CHECKING, Final, Protocol, Self

from ferrokv import FerroKVError

if TYPE_CHECKING:
    from ferrokv.contract.deferrals import Deferral


class Deferring(Protocol):
    """A handle of either kind."""

    def deferral(self) -> Deferral:
        """Return a new deferral."""


class Pipelined:
    """A context manager for `with` and `async with`, to be used once.

    Threads and tasks started inside the block share it until it ends.
    """

    def __init__(self, path: str | None = None) -> None:
        self._path = path  # the store that an inner block waits for; None for all
        self._deferrals: dict[str, Deferral] = {}
        # Guards the deferrals and `_is_ending`, so that none is added while the last are settled.
        self._lock = Lock()
        self._is_entered = False
        self._is_open = False
        self._is_ending = False
        self._pid = 0
        self._token: Token[Pipelined | None] | None = None
        self._root = self  # the outermost block, which owns the deferrals
        self._failures: list[FerroKVError] = []

    @property
    def is_open(self) -> bool:
        """False once the block has ended, and in a forked child. Writes are then not part of it."""
        return self._is_open and os.getpid() == self._pid

    def deferral(self, handle: Deferring, path: str) -> Deferral | None:
        """Return the deferral for a handle on the store at `path`; None if the block is over.

        While the block is ending, the deferral is closed: writes through it stay in order after all
        earlier ones.
        """
        if not self.is_open:
            return None
        found = self._deferrals.get(path)
        if found is None:
            with self._lock:
                found = self._deferrals.get(path)
                if found is None and not self._is_ending:
                    found = self._deferrals[path] = handle.deferral()
        return found

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Run a caller's code inside the block as if there were no block.

        If there is another block around this one, the code still belongs to that.
        """
        if self._root is not self:
            yield
            return
        token = CURRENT.set(None)
        try:
            yield
        finally:
            CURRENT.reset(token)

    # -- settling ------------------------------------------------------------------------------------------------

    def append(self) -> None:
        """Append everything collected so far, so that it precedes later writes of others.

        Call it before releasing a lock.
        """
        for deferral in list(self._deferrals.values()):
            with suppress(FerroKVError):  # raised again when settling
                deferral.append()

    async def aappend(self) -> None:
        """As `append`, for asyncio."""
        for deferral in list(self._deferrals.values()):
            with suppress(FerroKVError):
                await deferral.aappend()

    def settle(self, path: str | None = None) -> None:
        """Wait until all that was written so far, to one store or to all, is durable.

        Raises the first failure; with `path`, only one that happened there just now.
        """
        failures: list[FerroKVError] = []
        interrupted: BaseException | None = None
        for deferral in self._chosen(path):
            try:
                deferral.settle()
            except FerroKVError as error:
                failures.append(error)
            except BaseException as error:  # noqa: BLE001 - from a signal handler: settle the others anyway
                interrupted = error
        self._failures += failures
        if interrupted is not None:
            raise interrupted
        _raise_first(self._failures if path is None else failures)

    async def asettle(self, path: str | None = None) -> None:
        """As `settle`, for asyncio.

        Everything is queued before the first await, so cancelling only stops the waiting.
        """
        failures: list[FerroKVError] = []
        begun: list[Awaitable[None]] = []
        for deferral in self._chosen(path):
            try:
                begun.append(deferral.begin_settling())
            except FerroKVError as error:
                failures.append(error)
        outcomes = await asyncio.gather(*begun, return_exceptions=True)
        failures += [outcome for outcome in outcomes if isinstance(outcome, FerroKVError)]
        self._failures += failures
        for outcome in outcomes:
            if outcome is not None and not isinstance(outcome, FerroKVError):
                raise outcome
        _raise_first(self._failures if path is None else failures)

    def _chosen(self, path: str | None) -> list[Deferral]:
        return [deferral for location, deferral in list(self._deferrals.items()) if path is None or location == path]

    # -- the block -----------------------------------------------------------------------------------------------

    def _enter(self) -> Self:
        if self._is_entered:
            raise RuntimeError("a pipelined block can be entered once: create another with pipelined()")
        self._is_entered = True
        outer = CURRENT.get()
        if outer is not None and outer.is_open:
            self._root = outer
        else:
            self._pid = os.getpid()
            self._is_open = True
            self._token = CURRENT.set(self)
        return self

    def _leave(self) -> Pipelined | None:
        """End this block, but not one around it.

        Returns the block to settle; None in a forked child.
        """
        if self._token is not None:
            with suppress(ValueError):  # left in a different context than it was entered in
                CURRENT.reset(self._token)
        root = self._root
        if os.getpid() != root._pid:
            return None
        if root is self:
            with self._lock:
                self._is_ending = True
                for deferral in self._deferrals.values():
                    deferral.close()
        return root

    def _end(self) -> None:
        # Order: once everything is queued, so that nobody who belonged to the block can write ahead
        # of it.
        if self._root is self:
            self._is_open = False

    def __enter__(self) -> Self:
        return self._enter()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        root = self._leave()
        try:
            if root is not None:
                root.settle(None if root is self else self._path)
        finally:
            self._end()

    async def __aenter__(self) -> Self:
        return self._enter()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        root = self._leave()
        try:
            if root is not None:
                await root.asettle(None if root is self else self._path)
        finally:
            self._end()


CURRENT: Final[ContextVar[Pipelined | None]] = ContextVar("ferrokv_pipelined", default=None)


def current() -> Pipelined | None:
    """Return the block that this thread or task is in, if it has not ended."""
    pipelined = CURRENT.get()
    return pipelined if pipelined is not None and pipelined.is_open else None


def _raise_first(failures: list[FerroKVError]) -> None:
    """Raise the first failure.

    A block keeps failures until its end, so that a cache that ignores its own cannot hide others.
    """
    if failures:
        raise failures[0]
