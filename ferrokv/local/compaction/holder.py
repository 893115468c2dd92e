"""Taking the compact lock, and taking over the tables from its last holder.

The holder stores its pid in COMPACTOR, and stores 0 there before it releases the lock if everything
is in order (`end_compacting`). So a new holder learns from COMPACTOR in which state the last one
left.

- 0: everything is in order. If VERSION has moved since this process last had the manifest open, it
  reads the manifest again, and looks for files that nothing names.
- Not 0: the last holder died, or could not tell what had become of its last edit. The tail of the
  manifest is uncertain, and an edit may be there that was never synced or announced. So the new
  holder writes a new manifest of what it can read, which makes such an edit durable, increments
  VERSION, which announces it, and then removes files that the new manifest does not name.

The caller releases the lock with `Engine.unlock_compact`, whether these operations succeed or
raise.
"""

from __future__ import annotations

from ...errors import StoreBusy
from ..engine.engine import NO_DESCRIPTORS, Engine
from ..engine.manifest import read_manifest
from ..engine.removal import find_unnamed, remove_waiting
from ..format.control import COMPACTOR, VERSION
from ..log.commit import take_lock
from ..log.load import read_current
from ..log.replica import refresh
from ..storage.requests import Op
from .install import roll
from .score import announce_score


def begin_compacting(engine: Engine, timeout: float) -> Op[bool]:
    """Take the compact lock and open the manifest. Return False if another process has the lock.

    If the last holder did not leave everything in order, clean up what it left.
    """
    engine.check_usable()
    if not take_lock(engine, "compact", timeout):
        return False
    engine.check_usable()
    try:
        yield from _take_over(engine)
    except OSError as error:
        if error.errno not in NO_DESCRIPTORS:
            raise
        raise StoreBusy(f"no free file descriptor to flush or compact: reason={error.strerror}") from error
    return True


def _take_over(engine: Engine) -> Op[None]:
    left = engine.words[COMPACTOR]
    engine.words[COMPACTOR] = engine.process_id
    if left:
        yield from _clean_up(engine)
    elif engine.compactor.open_manifest is None or engine.compactor.open_manifest.version_word != engine.words[VERSION]:
        yield from _open_manifest(engine)
        yield from find_unnamed(engine)
    yield from refresh(engine)
    # The last holder may have died between its edit and storing these words, or have found other
    # damaged tables.
    announce_score(engine.words, engine.view.version, engine.options, len(engine.compactor.damaged))
    yield from remove_waiting(engine)


def end_compacting(engine: Engine) -> None:
    """Store 0 in COMPACTOR if everything is in order.

    Called before the compact lock is released.
    """
    if (
        engine.compactor.open_manifest is not None
        and not engine.compactor.open_manifest.doubtful
        and not engine.compactor.orphans
    ):
        engine.words[COMPACTOR] = 0


def _clean_up(engine: Engine) -> Op[None]:
    """Replace the manifest, whose tail is uncertain, and remove what the new one does not name.

    An edit that the last holder wrote may be neither synced nor announced. The new manifest makes
    it durable, and the new VERSION announces it.
    """
    yield from _open_manifest(engine)
    yield from roll(engine)
    engine.compactor.manifest.version_word = version_word = engine.words[VERSION] + 1
    engine.words[VERSION] = version_word
    yield from find_unnamed(engine)


def _open_manifest(engine: Engine) -> Op[None]:
    current = yield from read_current()
    if current.store_id != engine.store_id:
        raise engine.give_up("another store has taken its place")
    engine.compactor.open_manifest = yield from read_manifest(current)
    engine.compactor.manifest.version_word = engine.words[VERSION]
    # The orphans were no part of the old state, but may be part of the one just read: the edit that
    # failed may be in the manifest after all, or another process has cleaned up and used the table
    # numbers again.
    engine.compactor.orphans = []
