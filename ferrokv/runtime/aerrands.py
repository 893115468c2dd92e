"""Awaiting an errand. Apart from `errands` so that threads need no asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from ..errors import StoreClosed
from .errands import Errand
from .store import Store

if TYPE_CHECKING:
    from ..engine.meter import Progress

T = TypeVar("T")


async def run_errand(store: Store, progress: Progress | None, run: Callable[[Errand], T]) -> T:
    """What `run(errand)` returns in a thread of the store's pool. `progress` is called in the loop.

    Cancelling ends the errand, and waits for that: a step, and the removal of what it made. What `progress` raises ends it, too.
    """
    loop = asyncio.get_running_loop()
    errand = Errand(store, progress)
    if progress is not None:
        tell = partial(_tell, errand, progress)
        errand.progress = lambda done, total: loop.call_soon_threadsafe(tell, done, total)
    running = loop.run_in_executor(store.pool, run, errand)
    # Of a caller who does not even wait for the end nobody learns what came of it.
    running.add_done_callback(_forget)
    try:
        await asyncio.wait((running,))
    except asyncio.CancelledError:
        errand.stop(StoreClosed("the caller was cancelled"))
        await asyncio.wait((running,))
        raise
    answer = running.result()
    if errand.reason is not None:
        raise errand.reason  # from the last call of `progress`
    return answer


def _tell(errand: Errand, progress: Progress, done: int, total: int) -> None:
    if errand.reason is None:
        try:
            progress(done, total)
        except Exception as error:  # noqa: BLE001 - it belongs to the caller
            errand.stop(error)


def _forget(running: asyncio.Future[T]) -> None:
    if not running.cancelled():
        running.exception()
