"""Carrying out what the picker chose: drop, move or merge tables.

Each step is installed by a manifest edit.
"""

from __future__ import annotations

from functools import partial
from typing import assert_never

from ...errors import CorruptionError
from ..engine.engine import Engine
from ..format.edits import Edit
from ..storage.requests import Op
from .fitting import merge_that_fits, merge_that_frees
from .install import install
from .merging import Merger, set_aside, weigh
from .picker import Choice, Drop, Merging, Move, PickerContext, pick, pick_everything, rewriting
from .survivors import Survivors
from .sweeping import look_for_dead, next_with_dead, sweep_due


def compaction_due(engine: Engine) -> bool:
    """Return True if `compact_once` has something to do, as far as this process knows."""
    view = engine.view
    survivors = Survivors(engine.passed_ms(), view.catalogue)
    return pick(view.version, engine.options, survivors, _context_of(engine)) is not None or sweep_due(engine)


def compact_once(engine: Engine, *, everything: bool = False) -> Op[bool]:
    """Do the next useful compaction; return False if there was none.

    Readers, writers and flushes go on. Only for the holder of the compact lock. A table that cannot
    be read is set aside (`Compactor.damaged`); compactions that would read it are not done any
    more, the others are. `StoreFull` leaves everything as it was, except for the parts of a merge
    that are installed already.
    """
    engine.check_usable()
    try:
        return (yield from _compact_once(engine, everything=everything))
    except CorruptionError as error:
        set_aside(engine, error)
        return True


def sweep_everything(engine: Engine) -> Op[None]:
    """Rewrite every table that holds records of dead collections.

    Only for the holder of the compact lock.
    """
    place = (b"", 0)
    while True:
        try:
            found = yield from next_with_dead(engine, place)
            if found is None:
                return
            table, place = found
            yield from _carry_out(engine, rewriting(table), Survivors(engine.certain_ms(), engine.view.catalogue))
        except CorruptionError as error:
            set_aside(engine, error)


def _compact_once(engine: Engine, *, everything: bool) -> Op[bool]:
    view = engine.view
    survivors = Survivors(engine.certain_ms(), view.catalogue)
    choice: Choice | None
    if everything:
        choice = pick_everything(view.version, engine.options, _context_of(engine))
    else:
        choice = pick(view.version, engine.options, survivors, _context_of(engine))
        if choice is None:
            choice = yield from look_for_dead(engine)
        if choice is None:
            choice = yield from merge_that_frees(engine, _context_of(engine), partial(weigh, engine))
    if choice is None:
        return False
    yield from _carry_out(engine, choice, survivors)
    return True


def _context_of(engine: Engine) -> PickerContext:
    manifest = engine.compactor.open_manifest
    if manifest is None:
        return PickerContext(engine.compactor.cursors, damaged=engine.compactor.damaged)
    return PickerContext(engine.compactor.cursors, manifest.tables.merge, engine.compactor.damaged)


def _carry_out(engine: Engine, choice: Choice, survivors: Survivors) -> Op[None]:
    if isinstance(choice, Drop):
        edit = Edit(removed=tuple(table.number for table in choice.tables))
        yield from install(engine, edit, obsolete=[table.name for table in choice.tables])
        engine.counters.tables_dropped_unread += len(choice.tables)
    elif isinstance(choice, Move):
        moved = choice.table.moved(choice.level)
        engine.compactor.cursors[choice.table.meta.level] = choice.table.min_key
        yield from install(engine, Edit(added=(moved.meta,), removed=(moved.number,)), [moved])
    elif isinstance(choice, Merging):
        yield from run_merge(engine, choice, survivors)
    else:
        assert_never(choice)


def run_merge(engine: Engine, choice: Merging, survivors: Survivors) -> Op[None]:
    """Do the chosen merge, or on a full disk one that there is room for.

    Only for the holder of the compact lock.
    """
    choice, spare = yield from merge_that_fits(engine, choice, _context_of(engine), partial(weigh, engine))
    if choice.target == 0 and choice.upper[0] is not engine.view.version.levels[0][0]:
        return  # a flush came while it was weighed, so the newest tables of level 0 are others now: choose again
    yield from Merger(engine, choice, survivors, spare=spare).run()
    engine.counters.compactions += 1
    engine.counters.records_expired += survivors.expired
