"""Admission to writing: writes to a keyspace that is far over its quota wait for eviction.

Writes to other keyspaces do not wait. Whichever process compacts says in a word of the control page
which keyspaces are over (upkeep/quotas.py).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from ...errors import StoreBusy
from ..engine.engine import Engine
from ..upkeep.quotas import is_overfull
from .waiters import WriterRequest, deliver


class Admission:
    """The admission of one process. Owned by the writer thread.

    Any thread may call `keeps` and append to `first`.
    """

    def __init__(self, engine: Engine, wake_background: Callable[[], None]) -> None:
        self._engine = engine
        self._wake_background = wake_background
        self.first: deque[WriterRequest] = deque()  # requests that make room go before all others
        self.is_open = False  # True once the store is closing: whatever is queued is written

    def holds_back(self, request: WriterRequest) -> bool:
        """True if the request has to wait. Takes about 0.1 µs in a store without quotas."""
        engine = self._engine
        if not engine.view.catalogue.quotas or self.is_open or engine.failure is not None:
            return False
        return request.command is not None and not request.makes_room and is_overfull(engine, request.keyspace)

    def next_of(self, waiting: deque[WriterRequest]) -> WriterRequest | None:
        """Take the next request to serve, or None if all have to wait.

        Requests to the same keyspace keep their order. Those that have waited for `busy_timeout`
        are answered with `StoreBusy`.
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
                full[request.keyspace] = self.holds_back(request)
            if not full[request.keyspace]:
                del waiting[i]
                return request
        self._give_up(waiting)
        self._wake_background()
        return None

    def _give_up(self, waiting: deque[WriterRequest]) -> None:
        now, timeout = time.monotonic(), self._engine.options.busy_timeout
        late = [request for request in waiting if now - request.since >= timeout]
        for request in late:
            waiting.remove(request)
            request.error = StoreBusy(
                f"the keyspace is over its quota and eviction was not fast enough: keyspace={request.keyspace!r} "
                f"quota={self._engine.view.catalogue.quotas.get(request.keyspace)} busy_timeout={timeout:.3g} "
                f"compactor_pid={self._engine.compactor_pid}"
            )
        deliver(late)
