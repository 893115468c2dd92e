"""Removing files that the store does not need any more (docs/format.md section 7).

WALs and manifests are removed at once. Tables are removed when no living process has pinned a
version that is older than the edit which replaced them; until then they wait in a list
(`Compactor.waiting`).

The list is in the memory of the process that made the edit, and lost if that process dies. The next
process that takes the compact lock finds the files again, as tables that the manifest does not
name. A table number is never used twice, so a table that waits can be removed at any later time.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..format.control import PINNED, VERSION
from ..names import file_name, numbers_of
from ..storage.requests import ListDirectory, Op, Remove
from .compactor import Waiting
from .engine import Engine, logger
from .manifest import Tables
from .slots import slots_in_use


def remove_files(names: Iterable[str]) -> Op[None]:
    """Remove files that nothing refers to any more.

    A failure only wastes space until the next opening.
    """
    for name in names:
        try:
            yield Remove(name)
        except FileNotFoundError:
            continue
        except OSError as error:
            logger.warning("could not remove %s: %s", name, error.strerror)


def remove_obsolete(engine: Engine, names: Iterable[str], before: Tables) -> Op[None]:
    """Remove the files that the newest edit replaced; tables only when nobody reads them.

    `before` is the state of the manifest before the edit. Only for the holder of the compact lock.
    """
    names = list(names)
    version_word = engine.words[VERSION]
    metas = before.metas
    tables = {file_name("table", number): number for number in numbers_of("table", names)}
    for name, number in tables.items():
        engine.compactor.waiting.append(Waiting(version_word, name, metas[number].file_bytes if number in metas else 0))
    yield from remove_files(name for name in names if name not in tables)
    yield from remove_waiting(engine)


def remove_waiting(engine: Engine) -> Op[None]:
    """Remove the waiting tables that nobody reads any more.

    For the background thread, or at closing.
    """
    engine.pins.settle()  # drop the pins that this process has given back; also a fence after the store of VERSION
    if not engine.compactor.waiting:
        return
    try:
        oldest = oldest_pin(engine)
    except OSError as error:  # for example, no descriptor to examine a lock file
        logger.warning("could not find out who reads old tables: %s", error.strerror)
        return
    free = [table.name for table in engine.compactor.waiting if not oldest or oldest >= table.version_word]
    if free:
        engine.compactor.waiting = [
            table for table in engine.compactor.waiting if oldest and oldest < table.version_word
        ]
        yield from remove_files(free)


def oldest_pin(engine: Engine) -> int:
    """Return the oldest VERSION that a living process has pinned; 0 if there is none.

    Probes the lock files of other processes that have pinned one.
    """
    oldest = 0
    for slot in slots_in_use(engine.words):
        pinned = slot[PINNED]
        if not pinned or (oldest and pinned >= oldest):
            continue
        own = engine.slot is not None and slot.number == engine.slot.number
        owner = slot.owner
        if own or (owner and engine.storage.is_announced(owner)):
            oldest = pinned
    return oldest


def find_unnamed(engine: Engine) -> Op[None]:
    """Find the files that other processes left behind. Remove those that nobody can be reading.

    Only for the holder of the compact lock, directly after it has read the manifest: nobody else
    writes tables then.
    """
    tables = engine.compactor.manifest.tables
    names = yield ListDirectory()
    unnamed = [number for number in numbers_of("table", names) if number not in tables.metas]
    # An edit that adds a table also makes `next_table` durable. So tables from that number on were
    # never in any version.
    yield from remove_files(file_name("table", number) for number in unnamed if number >= tables.next_table)
    version_word = engine.words[VERSION]
    left = [file_name("table", number) for number in unnamed if number < tables.next_table]
    engine.compactor.waiting = [Waiting(version_word, name, names[name]) for name in left]
    own = engine.compactor.manifest.current.manifest_number
    dead = [file_name("manifest", n) for n in numbers_of("manifest", names) if n != own]
    dead += [file_name("wal", n) for n in numbers_of("wal", names) if n < tables.log_number]
    yield from remove_files(dead)
