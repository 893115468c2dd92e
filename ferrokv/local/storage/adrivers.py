"""The driver that runs an operation on an event loop. Its blocking twin is `drivers.complete`.

The two are separate modules so that programs with threads only need not import asyncio.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor
from typing import TypeVar

from .requests import Op, Pause, ReadAt, Storage

T = TypeVar("T")


async def acomplete(op: Op[T], storage: Storage, pool: Executor) -> T:
    """Run the operation and return its result.

    Reads that the page cache can answer are done inline, all other requests in `pool`. Cancelling
    closes the operation; a request that is running in the pool then finishes there, and its reply
    is dropped. So this driver is for operations that only read.
    """
    loop = asyncio.get_running_loop()
    try:
        request = next(op)
        while True:
            try:
                reply = None
                if request.__class__ is Pause:
                    await asyncio.sleep(0)
                else:
                    if isinstance(request, ReadAt):
                        reply = storage.read_if_cached(request)
                    if reply is None:
                        reply = await loop.run_in_executor(pool, storage.perform, request)
            except BaseException as error:  # noqa: BLE001
                request = op.throw(error)
            else:
                request = op.send(reply)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    finally:
        op.close()
