"""`FerroKVCache`: Django's cache contract on ferrokv, synchronous and native asynchronous in one class.

Every `a*` method runs on the event loop itself; a hit in memory takes no thread. Both kinds are equally atomic: those for threads
are made from the asynchronous ones (tools/make_twins.py).
"""

from __future__ import annotations

import os
from typing import Any

from .aio.herd import AsyncHerd
from .blocking.herd import BlockingHerd
from .forgiving import forgiving
from .pipelining import Pipelined


class FerroKVCache(AsyncHerd, BlockingHerd):
    """`LOCATION` is the directory, `OPTIONS["KEYSPACE"]` the keyspace (default "cache"); docs/django.md lists all options.

    Timeouts are native TTLs, exact to the millisecond. Nothing is culled by number (`MAX_ENTRIES` is ignored); `MAX_BYTES` bounds
    the size.
    """

    def __init__(self, location: str | os.PathLike[str], params: dict[str, Any]) -> None:
        super().__init__(location, params)
        if self._ignores_failures:
            self.__class__ = forgiving(type(self))  # type: ignore[arg-type]

    @staticmethod
    def pipelined() -> Pipelined:
        """A block, `with` or `async with`, whose writes are durable when it ends, at the price of one sync for all of them.

        It covers what the current thread or task, and those that it starts, write through any ferrokv cache and through the session
        store. Inside, they see their own writes, and answers of `incr`, `add` and the like are exact; others see them when they are
        durable. A store that fails raises at the end of the block, unless all that failed was a cache with IGNORE_EXCEPTIONS.
        """
        return Pipelined()
