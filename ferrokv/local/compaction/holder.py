"""Becoming the process that changes the tables: the holder of the compact lock.

The lock is let go with the engine's `unlock_compact`, by whoever drives these operations, in any case.
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
    """Take the compact lock and hold the manifest as it is on disk; False when another process has the lock.

    If the last holder did not let go in order (it died, or its last edit is in doubt), what it left is cleaned up first.
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
    # The last holder may have died between its edit and these words, or have found other tables damaged.
    announce_score(engine.words, engine.view.version, engine.options, len(engine.compactor.damaged))
    yield from remove_waiting(engine)


def end_compacting(engine: Engine) -> None:
    """Say that everything is in order, before the compact lock is let go."""
    if (
        engine.compactor.open_manifest is not None
        and not engine.compactor.open_manifest.doubtful
        and not engine.compactor.orphans
    ):
        engine.words[COMPACTOR] = 0


def _clean_up(engine: Engine) -> Op[None]:
    """A new manifest, since the tail of the old one is uncertain; then the removal of what it does not name.

    An edit that the last holder wrote may be there without being synced or announced: the new manifest makes it both.
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
    # What waited to be removed was no part of the state that this one replaces. It may be one of this: the edit that failed may be
    # there all the same, or another process has cleaned up and given the numbers out again.
    engine.compactor.orphans = []
