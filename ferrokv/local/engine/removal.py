"""Removing files that the store does not need any more: at once, or when no living process reads them (docs/format.md section 7).

What waits is a list in the memory of the process that made the edit. The list dies with it, but the files do not: whoever takes
the compact lock after another process finds them again, as tables that the manifest does not name. A number is never given to a
second table, so removing one that waits is right at any later time.
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
    """Remove files that nothing refers to any more. A failure costs space until the next opening, nothing else."""
    for name in names:
        try:
            yield Remove(name)
        except FileNotFoundError:
            continue
        except OSError as error:
            logger.warning("could not remove %s: %s", name, error.strerror)


def remove_obsolete(engine: Engine, names: Iterable[str], before: Tables) -> Op[None]:
    """Remove files that the edit behind the newest VERSION replaced; tables only when nobody reads an older version.

    `before` is what the manifest said before the edit. Only for the holder of the compact lock.
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
    """Remove the tables that wait and that nobody reads any more. For the thread that does the background work, or at closing."""
    engine.pins.settle()  # of those who read here; and a fence behind the store of VERSION
    if not engine.compactor.waiting:
        return
    try:
        oldest = oldest_pin(engine)
    except OSError as error:  # no descriptor to look at a lock file, for instance
        logger.warning("could not look who reads old tables: %s", error.strerror)
        return
    free = [table.name for table in engine.compactor.waiting if not oldest or oldest >= table.version_word]
    if free:
        engine.compactor.waiting = [
            table for table in engine.compactor.waiting if oldest and oldest < table.version_word
        ]
        yield from remove_files(free)


def oldest_pin(engine: Engine) -> int:
    """The oldest VERSION that a living process reads; 0 if none does. One look at a lock file for each other process that does."""
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
    """Find the tables again that other processes left to be removed, and remove what none can be reading.

    Only for the holder of the compact lock, who has just read the manifest: nobody else writes tables.
    """
    tables = engine.compactor.manifest.tables
    names = yield ListDirectory()
    unnamed = [number for number in numbers_of("table", names) if number not in tables.metas]
    # A table that some edit added has a number that this edit made durable. The others never came into any version.
    yield from remove_files(file_name("table", number) for number in unnamed if number >= tables.next_table)
    version_word = engine.words[VERSION]
    left = [file_name("table", number) for number in unnamed if number < tables.next_table]
    engine.compactor.waiting = [Waiting(version_word, name, names[name]) for name in left]
    own = engine.compactor.manifest.current.manifest_number
    dead = [file_name("manifest", n) for n in numbers_of("manifest", names) if n != own]
    dead += [file_name("wal", n) for n in numbers_of("wal", names) if n < tables.log_number]
    yield from remove_files(dead)
