"""Taking the write lock, and making ready to append to the WAL.

Before a process may append a frame, three things must hold. It holds the write lock. It knows every
commit in the WAL: the durable ones are in its view (`catch_up`), and the others, up to APPENDED,
are pending (`read_appended`). And the tail of the WAL is certain: INTENT equals APPENDED. If it
does not, a process died or failed in the middle of a write or a rotation. Nobody has seen what it
wrote, and nobody may write behind that, so this process rotates to a new WAL.

The caller releases the lock with `Engine.unlock_write`, whether `begin_writing` succeeds or raises.
"""

from __future__ import annotations

from ...errors import StoreBusy
from ..engine.engine import Engine
from ..format.control import APPENDED, COMMIT, INTENT, POISON, WRITER
from ..storage.drivers import complete
from .commit import rotate, take_lock
from .replica import catch_up, read_appended


def begin_writing(engine: Engine, timeout: float) -> None:
    """Take the write lock and make ready to append. Blocks.

    Raises `StoreBusy`, which names the holder, if the lock was not free in time; `StoreFailed` if a
    sync has failed in any process.
    """
    if not take_lock(engine, "write", timeout):
        holder = engine.words[WRITER]
        raise StoreBusy(f"another process did not release the write lock: holder_pid={holder} seconds={timeout:.3g}")
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
        # A process died or failed in the middle of a write. Nobody has seen those bytes, and nobody
        # may write behind them.
        rotate(engine)
