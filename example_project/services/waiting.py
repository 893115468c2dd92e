"""Blocking work in SQLAlchemy's asyncio sessions: done in threads, even after cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from dogpile.cache.api import CacheMutex
from sqlalchemy.util import await_only

POLL_SECONDS = 0.01
_running: set[asyncio.Future[Any]] = set()  # event loops keep only weak references


def in_thread(work: Callable[..., Any], *arguments: Any) -> Any:
    """Run `work` in a thread and return its result. Cancelling stops the waiting, not the work."""
    return await_only(_finish(_started(work, *arguments)))


def acquire_later(mutex: CacheMutex) -> None:
    """Take the mutex. Only attempts use a thread, so waiters do not occupy all there are."""
    while not await_only(_take(mutex)):
        await_only(asyncio.sleep(POLL_SECONDS))


async def _take(mutex: CacheMutex) -> bool:
    taking = _started(mutex.acquire, False)
    try:
        return bool(await asyncio.shield(taking))
    except asyncio.CancelledError:
        taking.add_done_callback(lambda done: _put_back(mutex, done))
        raise


def _put_back(mutex: CacheMutex, done: asyncio.Future[Any]) -> None:
    if not done.cancelled() and done.exception() is None and done.result():
        _started(mutex.release)


async def _finish(future: asyncio.Future[Any]) -> Any:
    return await asyncio.shield(future)


def _started(work: Callable[..., Any], *arguments: Any) -> asyncio.Future[Any]:
    future = asyncio.get_running_loop().run_in_executor(None, work, *arguments)
    _running.add(future)
    future.add_done_callback(_running.discard)
    return future
