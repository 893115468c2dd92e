"""Becoming the process that writes the WAL: what has to be true before a frame may be appended.

The write lock is let go with the engine's `unlock_write`, by whoever drives this, in any case.
"""

from __future__ import annotations

from ...errors import StoreBusy
from ..engine.engine import Engine
from ..format.control import APPENDED, COMMIT, INTENT, POISON, WRITER
from ..storage.drivers import complete
from .commit import rotate, take_lock
from .replica import catch_up, read_appended


def begin_writing(engine: Engine, timeout: float) -> None:
    """Take the write lock, be at the newest commit, and stand on a WAL whose tail is certain. Blocks.

    `StoreBusy` names the holder when the lock was not free in time; `StoreFailed` after a failed sync in any process.
    """
    if not take_lock(engine, "write", timeout):
        holder = engine.words[WRITER]
        raise StoreBusy(f"another process did not let go of the write lock: holder_pid={holder} seconds={timeout:.3g}")
    words = engine.words
    if words[POISON] or engine.failure is not None:
        engine.check_usable()
    words[WRITER] = engine.process_id
    if words[COMMIT] != engine.seen:
        complete(catch_up(engine), engine.storage)
    appended = words[APPENDED]
    if appended != engine.seen:
        complete(read_appended(engine), engine.storage)
    if words[INTENT] != appended:
        # Somebody died or failed in the middle of a write: nobody saw those bytes, and nobody may write behind them.
        rotate(engine)
