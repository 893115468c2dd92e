"""Many writes, and a single wait until all of them are durable."""

from __future__ import annotations

from collections.abc import Awaitable
from types import TracebackType
from typing import Protocol, Self


class Deferral(Protocol):
    """Collects writes and makes them durable together. `deferral()` of a handle makes one.

    `within(deferral)` of a handle gives the commands that write through it. It is a context manager
    for `with` and `async with`; leaving the block closes and settles it, also when the block
    raises. Until a deferral is settled, its writes may be lost if the process ends, and others may
    or may not see them. Any threads, event loops and keyspaces of one store may share one; `within`
    of another store raises `DataError`. After a fork it belongs to the parent.
    """

    @property
    def is_inherited(self) -> bool:
        """True in a forked child, which must not use it."""

    def append(self) -> None:
        """Append the collected writes to the log now, without waiting for them to become durable.

        From then on, other transactions see them.
        """

    async def aappend(self) -> None:
        """As `append`, for asyncio."""

    def settle(self) -> None:
        """Wait until everything written so far, and everything its commands have seen, is durable.

        Raises the first error of a collected write. The deferral can be used again afterwards.
        """

    async def asettle(self) -> None:
        """As `settle`, for asyncio. Cancelling stops the waiting, not the writes."""

    def begin_settling(self) -> Awaitable[None]:
        """Start `asettle`, and return an awaitable that finishes it."""

    def close(self) -> None:
        """Stop collecting. Later writes through the deferral are durable when they return.

        What was collected before is written by the next `settle`.
        """

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None, /
    ) -> None: ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None, /
    ) -> None: ...
