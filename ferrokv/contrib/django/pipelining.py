"""One sync for all that a block of code writes: `with cache.pipelined():`, or the middleware around each request.

What the current thread or task writes through any ferrokv cache, and through the session store, goes into deferrals
(`FerroKV.deferral`), which are settled when the block ends. Each store has two: one whose failures are raised, and one for
caches with IGNORE_EXCEPTIONS. Blocks may be nested; each ends with its writes durable.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from contextvars import ContextVar, Token
from threading import Lock
from types import TracebackType
from typing import Any, Final, Self

from ferrokv import Deferral, FerroKVError

logger = logging.getLogger("ferrokv.contrib.django")


class Pipelined:
    """A context manager of both kinds, for one use. Threads and tasks that are started inside it share it until it ends."""

    def __init__(self) -> None:
        self._deferrals: dict[tuple[str, bool], Deferral] = {}
        self._lock = Lock()
        self._is_open = True
        self._token: Token[Pipelined | None] | None = None
        self._outer: Pipelined | None = None

    @property
    def is_open(self) -> bool:
        """False once the block has ended: what a task writes afterwards goes its own way."""
        return self._is_open

    def deferral(self, handle: Any, path: str, forgives: bool) -> Deferral:
        """The deferral for a handle on the store at `path`; after a fork, one of the child's own."""
        key = (path, forgives)
        found = self._deferrals.get(key)
        if found is None or found.is_inherited:
            with self._lock:
                found = self._deferrals.get(key)
                if found is None or found.is_inherited:
                    found = self._deferrals[key] = handle.deferral()
        return found

    def append(self) -> None:
        """Put all that was gathered before whatever others write next: for whoever is about to let go of a lock."""
        for _, deferral in self._in_order():
            deferral.append()

    async def aappend(self) -> None:
        """As `append`."""
        for _, deferral in self._in_order():
            await deferral.aappend()

    def settle(self) -> None:
        """Wait until all that was written so far is durable. Raises what went wrong, but only logs it for caches that ignore it."""
        deferrals = self._in_order()
        failures: list[tuple[bool, FerroKVError]] = []
        for _, deferral in deferrals[1:]:
            with suppress(FerroKVError):  # raised again where it is settled
                deferral.append()  # so that the sync of the first covers it
        for forgives, deferral in deferrals:
            try:
                deferral.settle()
            except FerroKVError as error:
                failures.append((forgives, error))
        _raise_first(failures)

    async def asettle(self) -> None:
        """As `settle`."""
        deferrals = self._in_order()
        failures: list[tuple[bool, FerroKVError]] = []
        for _, deferral in deferrals[1:]:
            with suppress(FerroKVError):
                await deferral.aappend()
        for forgives, deferral in deferrals:
            try:
                await deferral.asettle()
            except FerroKVError as error:
                failures.append((forgives, error))
        _raise_first(failures)

    def _in_order(self) -> list[tuple[bool, Deferral]]:
        """The deferrals of the block, or of the one around it, with whether their failures are ignored."""
        found = (self._outer or self)._deferrals
        return [(forgives, deferral) for (_, forgives), deferral in list(found.items())]

    def _enter(self) -> Self:
        outer = CURRENT.get()
        if outer is not None and outer.is_open:
            self._outer = outer
        else:
            self._token = CURRENT.set(self)
        return self

    def _leave(self) -> None:
        """End the block, but not the one around it, which goes on."""
        if self._outer is not None:
            return
        self._is_open = False
        assert self._token is not None
        with suppress(ValueError):  # left in another context than it was entered in
            CURRENT.reset(self._token)

    def __enter__(self) -> Self:
        return self._enter()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._leave()
        self.settle()

    async def __aenter__(self) -> Self:
        return self._enter()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._leave()
        await self.asettle()


CURRENT: Final[ContextVar[Pipelined | None]] = ContextVar("ferrokv_pipelined", default=None)


def current() -> Pipelined | None:
    """The block that this thread or task is in, if it has not ended."""
    pipelined = CURRENT.get()
    return pipelined if pipelined is not None and pipelined.is_open else None


def _raise_first(failures: list[tuple[bool, FerroKVError]]) -> None:
    for forgives, error in failures:
        if forgives:
            logger.warning("what a pipelined block wrote to the cache failed, which is ignored: %s", error)
    for forgives, error in failures:
        if not forgives:
            raise error
