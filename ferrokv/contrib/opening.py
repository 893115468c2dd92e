"""What the adapters share: opening a keyspace once, with its quota; batches; TTLs in seconds."""

from __future__ import annotations

import asyncio
import copy
import os
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from threading import Lock
from typing import Any, Final, TypeVar

from ferrokv import BlockingFerroKV, FerroKV, WriteBatch

UNCHANGED: Final[Any] = object()
"""A quota to leave as it is."""
FOREVER_SECONDS: Final = 1e12
"""30,000 years. Longer timeouts never expire."""
PART_RECORDS: Final = 50_000
PART_BYTES: Final = 32 << 20
"""Limits of one commit when a caller writes or deletes a lot at once, so that others do not have to
wait for all of it (docs/format.md section 8)."""
T = TypeVar("T")


def in_batches(writes: Iterable[tuple[Any, Any, int | None]]) -> list[WriteBatch]:
    """Distribute writes over as few batches as possible; returns at least one.

    Each write is a key, a value or None to delete, and a TTL in ms or None.
    """
    batches = [WriteBatch()]
    size = 0
    for key, value, px in writes:
        if len(batches[-1]) >= PART_RECORDS or size >= PART_BYTES:
            batches.append(WriteBatch())
            size = 0
        if value is None:
            batches[-1].delete(key)
        else:
            batches[-1].set(key, value, px=px)
            size += len(value)
    return batches


def in_parts(names: Sequence[T]) -> Iterator[Sequence[T]]:
    """Split names into parts that one commit should delete."""
    for i in range(0, len(names), PART_RECORDS):
        yield names[i : i + PART_RECORDS]


def open_bounded(path: Any, keyspace: str, options: Mapping[str, Any], max_bytes: Any) -> BlockingFerroKV:
    """Open a handle whose keyspace has the quota before anybody can write through it.

    If the quota cannot be set, the handle is closed.
    """
    handle = BlockingFerroKV.open(path, keyspace=keyspace, **options)
    if max_bytes is not UNCHANGED:
        try:
            handle.set_quota(max_bytes)
        except BaseException:  # also when interrupted: nobody else would close it
            handle.close()
            raise
    return handle


async def open_bounded_later(path: Any, keyspace: str, options: Mapping[str, Any], max_bytes: Any) -> FerroKV:
    """As `open_bounded`, for asyncio."""
    handle = await FerroKV.open(path, keyspace=keyspace, **options)
    if max_bytes is not UNCHANGED:
        try:
            await handle.set_quota(max_bytes)
        except BaseException:  # also when cancelled: nobody else would close it
            await handle.close()
            raise
    return handle


class ProcessLock:
    """A lock among the threads of a process.

    In a forked child nobody holds it, even if Python was not told of the fork.
    """

    __slots__ = ("_locks",)

    def __init__(self) -> None:
        self._locks: dict[int, Lock] = {}

    def own(self) -> Lock:
        """The lock of this process."""
        pid = os.getpid()
        return self._locks.get(pid) or self._locks.setdefault(pid, Lock())


class FirstUse:
    """Coordinates the first uses of a handle by tasks: one task opens it, the others wait for that.

    If the opening task is cancelled, the next one opens. If opening fails, all waiting tasks get
    the error. Each event loop opens on its own, so the opening function checks afterwards whether
    another loop was faster.
    """

    __slots__ = ("_turn",)

    def __init__(self) -> None:
        self._turn: _Turn | None = None  # of the event loop that used it last

    async def handle(self, find: Callable[[], FerroKV | None], open_: Callable[[], Awaitable[FerroKV]]) -> FerroKV:
        """Return what `find()` returns; if that is None, return what `open_()` returns."""
        loop = asyncio.get_running_loop()
        turn = self._turn
        if turn is None or turn.loop is not loop:
            turn = self._turn = _Turn(loop)
        failures = turn.failures
        async with turn.lock:
            found = find()
            if found is not None:
                return found
            if turn.error is not None and turn.failures != failures:
                raise copy.copy(turn.error)
            try:
                return await open_()
            except Exception as error:
                turn.failures += 1
                turn.error = copy.copy(error)  # without its traceback, which keeps frames alive
                raise


class _Turn:
    """The state of one event loop."""

    __slots__ = ("error", "failures", "lock", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.lock = asyncio.Lock()
        self.failures = 0
        self.error: Exception | None = None  # the most recent one


def whole_ms(seconds: float | None) -> int | None:
    """Convert a TTL to ms, at least 1. None for no expiry; ValueError for NaN.

    None, 0, and TTLs beyond `FOREVER_SECONDS` mean no expiry.
    """
    return max(1, round(max(seconds, 0) * 1000)) if seconds and not seconds >= FOREVER_SECONDS else None
