"""Who may write: requests to a keyspace that is far over its quota wait for eviction, and nobody else waits for them.

The compactor of whichever process says by a word of the control page which keyspaces those are (upkeep/quotas.py).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from ...errors import StoreBusy
from ..engine.engine import Engine
from ..upkeep.quotas import is_overfull
from .waiters import Request, deliver


class Admission:
    """Of one process. Owner: the writer thread; `keeps` may be asked by anybody, `first` is appended to by anybody."""

    def __init__(self, engine: Engine, wake_background: Callable[[], None]) -> None:
        self._engine = engine
        self._wake_background = wake_background
        self.first: deque[Request] = deque()  # what makes room goes before all others
        self.is_open = False  # True once the store is closing: what is queued is written

    def keeps(self, request: Request) -> bool:
        """True if the request has to wait. About 0.1 µs for a store without quotas."""
        engine = self._engine
        if not engine.view.catalogue.quotas or self.is_open or engine.failure is not None:
            return False
        return request.command is not None and not request.makes_room and is_overfull(engine, request.keyspace)

    def next_of(self, waiting: deque[Request]) -> Request | None:
        """Take the next request to be served; None if all have to wait. Requests to one keyspace stay in their order.

        Those that have waited for `busy_timeout` are answered with `StoreBusy`.
        """
        if self.first:
            return self.first.popleft()
        if not self._engine.view.catalogue.quotas:
            return waiting.popleft()
        full: dict[str, bool] = {}
        for i, request in enumerate(waiting):
            if request.command is None:
                del waiting[i]
                return request
            if request.keyspace not in full:
                full[request.keyspace] = self.keeps(request)
            if not full[request.keyspace]:
                del waiting[i]
                return request
        self._give_up(waiting)
        self._wake_background()
        return None

    def _give_up(self, waiting: deque[Request]) -> None:
        now, timeout = time.monotonic(), self._engine.options.busy_timeout
        late = [request for request in waiting if now - request.since >= timeout]
        for request in late:
            waiting.remove(request)
            request.error = StoreBusy(
                f"the keyspace is over its quota, and nothing was evicted in time: keyspace={request.keyspace!r} "
                f"quota={self._engine.view.catalogue.quotas.get(request.keyspace)} busy_timeout={timeout:.3g} "
                f"compactor_pid={self._engine.compactor_pid}"
            )
        deliver(late)
