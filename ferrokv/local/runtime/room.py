"""Makes room for keyspaces over their quota, step by step, on the background thread.

The compact lock is held meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ...errors import CorruptionError
from ..compaction.merging import set_aside
from ..engine.engine import Engine
from ..storage.drivers import complete
from ..upkeep.quotas import (
    Victims,
    evict,
    find_room,
    flush_for_quota,
    make_room,
    quota_due,
    tables_changed,
    watch_reads,
)
from .waiters import WriterRequest

EVICTIONS_EACH: Final = 1000  # per commit
ASK_SECONDS: Final = 0.02  # how often to check whether the writer waits for a flush


class RoomMaker:
    """Eviction by one process.

    `pause` and `breathe` are called between two pages, with and without naps; they raise when the
    work has to end.
    """

    def __init__(
        self,
        engine: Engine,
        write_first: Callable[[WriterRequest], None],
        flush: Callable[[], None],
        flush_first: Callable[[], None],
        pause: Callable[[], None],
        breathe: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._write_first = write_first
        self._flush = flush
        self._flush_first = flush_first
        self._pause = pause
        self._breathe = breathe

    def flush_early(self, *, idle: bool) -> None:
        """Flush memtables before they are full if a keyspace with a small quota is over it."""
        engine = self._engine
        if quota_due(engine, idle=idle) and complete(flush_for_quota(engine, idle=idle), engine.storage):
            self._ask_first(WriterRequest(None, "", ()))
            self._flush()

    def make_room(self) -> bool:
        """Take one step towards the quotas. False if none is due."""
        engine = self._engine
        if not tables_changed(engine):
            return False
        watch_reads(engine)
        try:
            found = complete(find_room(engine), engine.storage, self._pause)
            if found is None:
                return False
            gone = self._evict(found) if isinstance(found, Victims) else []
            complete(make_room(engine, found, frozenset(gone)), engine.storage, self._breathe)
        except CorruptionError as error:
            set_aside(engine, error)
        return True

    def _evict(self, found: Victims) -> list[bytes]:
        """Durably delete victims, and return the internal keys of those deleted."""
        gone: list[bytes] = []
        for i in range(0, len(found.records), EVICTIONS_EACH):
            some = found.records[i : i + EVICTIONS_EACH]
            gone += self._ask_first(WriterRequest(evict, found.keyspace, (found.prefix, some, self._engine.counters)))
        return gone

    def _ask_first(self, request: WriterRequest) -> Any:
        """Submit a request that makes room, and return its answer.

        Flushes continue meanwhile, for the writer may be waiting for one.
        """
        request.makes_room = True
        answered = request.for_thread()
        self._write_first(request)
        while not answered.acquire(timeout=ASK_SECONDS):
            self._flush_first()
            self._breathe()
        return request.outcome()
