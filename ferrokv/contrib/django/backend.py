"""`FerroKVCache`: Django's cache contract on ferrokv, synchronous and native asynchronous in one.

Every `a*` method runs on the event loop itself, and a hit in memory uses no thread. Both kinds are
equally atomic: the synchronous methods are generated from the asynchronous ones
(tools/make_twins.py).
"""

from __future__ import annotations

import os
from typing import Any

from .aio.contract import AsyncContract
from .aio.extras import AsyncExtras
from .blocking.contract import BlockingContract
from .blocking.extras import BlockingExtras
from .forgiving import forgiving
from .pipelining import Pipelined


class FerroKVCache(AsyncContract, AsyncExtras, BlockingContract, BlockingExtras):
    """A Django cache. `LOCATION` is the directory of the store.

    `OPTIONS["KEYSPACE"]` is its keyspace ("cache" by default); docs/django.md lists all options.
    Timeouts are native TTLs, exact to the millisecond. `MAX_ENTRIES` is ignored; `MAX_BYTES` limits
    the size.
    """

    def __init__(self, location: str | os.PathLike[str], params: dict[str, Any]) -> None:
        super().__init__(location, params)
        if self.problem is None and self._ignores_failures:
            self.__class__ = forgiving(type(self))  # type: ignore[arg-type]

    @staticmethod
    def pipelined() -> Pipelined:
        """Return a block whose writes share one sync and are durable when it ends.

        Use it with `with` or `async with`. It covers everything that the current thread or task,
        and those it starts, write through any ferrokv cache and through the session store. Inside
        the block they see their own writes, and the answers of `incr`, `add` and the like are
        exact; others see the writes once they are durable. If the store fails, the end of the block
        raises, unless only caches with IGNORE_EXCEPTIONS were affected.
        """
        return Pipelined()
