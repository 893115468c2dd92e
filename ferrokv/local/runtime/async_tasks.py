"""Awaiting a long task. Separate from `long_tasks`, so that threads need not import asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from ...errors import StoreClosed
from .long_tasks import LongTask
from .store import Store

if TYPE_CHECKING:
    from ...stats import Progress

T = TypeVar("T")


async def run_task(store: Store, progress: Progress | None, run: Callable[[LongTask], T]) -> T:
    """Run `run(task)` in a thread of the store's pool and return its result.

    `progress` is called in the event loop; an exception that it raises ends the task. Cancelling
    ends the task, and waits until its current step is over and its output has been removed.
    """
    loop = asyncio.get_running_loop()
    task = LongTask(store, progress)
    if progress is not None:
        tell = partial(_tell, task, progress)
        task.progress = lambda done, total: loop.call_soon_threadsafe(tell, done, total)
    running = loop.run_in_executor(store.pool, run, task)
    # If the caller does not even wait for the end, nobody retrieves the result.
    running.add_done_callback(_forget)
    try:
        await asyncio.wait((running,))
    except asyncio.CancelledError:
        task.stop(StoreClosed("the caller was cancelled"))
        await asyncio.wait((running,))
        raise
    answer = running.result()
    if task.reason is not None:
        raise task.reason  # raised by the last call of `progress`
    return answer


def _tell(task: LongTask, progress: Progress, done: int, total: int) -> None:
    if task.reason is None:
        try:
            progress(done, total)
        except Exception as error:  # noqa: BLE001 - for the caller
            task.stop(error)


def _forget(running: asyncio.Future[T]) -> None:
    if not running.cancelled():
        running.exception()
