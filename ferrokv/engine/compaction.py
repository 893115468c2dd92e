"""Carrying out what the picker chose: drop, move or merge, always by one manifest edit."""

from __future__ import annotations

from functools import partial
from typing import assert_never

from ..format.edits import Edit, TableMeta
from ..storage.requests import PAUSE, File, Op
from .builder import Outputs
from .collected import Generations
from .engine import Engine
from .install import install, remove_files
from .merge import Merge, RunSource, check_all_read
from .picker import Choice, Drop, Merging, Move, pick, pick_everything
from .survivors import Survivors
from .sweeping import look_for_dead, next_with_dead, rewriting, sweep_due
from .table import Table


def compaction_due(engine: Engine) -> bool:
    """True if there is something for `compact_once`. Looks at the view only."""
    view = engine.view
    survivors = Survivors(engine.clock(), view.catalogue)
    return pick(view.version, engine.options, survivors, engine.compaction_cursors) is not None or sweep_due(engine)


def compact_once(engine: Engine, *, everything: bool = False) -> Op[bool]:
    """Do the next useful compaction; False if there was none. Readers, writers and flushes go on meanwhile.

    Only for the holder of the compact lock.

    `StoreFull` leaves everything as it was; `CorruptionError` for a damaged input drops none of the inputs.
    """
    engine.check_usable()
    view = engine.view
    survivors = Survivors(engine.clock(), view.catalogue)
    if everything:
        choice = pick_everything(view.version)
    else:
        choice = pick(view.version, engine.options, survivors, engine.compaction_cursors)
        if choice is None:
            choice = yield from look_for_dead(engine)
    if choice is None:
        return False
    yield from _carry_out(engine, choice, survivors)
    return True


def sweep_everything(engine: Engine) -> Op[None]:
    """Rewrite every table that holds anything of dead collections. Only for the holder of the compact lock."""
    place = (b"", 0)
    while (found := (yield from next_with_dead(engine, place))) is not None:
        table, place = found
        yield from _carry_out(engine, rewriting(table), Survivors(engine.clock(), engine.view.catalogue))


def _carry_out(engine: Engine, choice: Choice, survivors: Survivors) -> Op[None]:
    if isinstance(choice, Drop):
        edit = Edit(removed=tuple(table.number for table in choice.tables))
        yield from install(engine, edit, obsolete=[table.name for table in choice.tables])
        engine.counters.tables_dropped_unread += len(choice.tables)
    elif isinstance(choice, Move):
        moved = choice.table.moved(choice.level)
        engine.compaction_cursors[choice.table.meta.level] = choice.table.min_key
        yield from install(engine, Edit(added=(moved.meta,), removed=(moved.number,)), [moved])
    elif isinstance(choice, Merging):
        yield from _merge(engine, choice, survivors)
        engine.counters.compactions += 1
        engine.counters.records_expired += survivors.expired
    else:
        assert_never(choice)


def _merge(engine: Engine, choice: Merging, survivors: Survivors) -> Op[None]:
    inputs = (*choice.upper, *choice.lower)
    tables: list[Table] = []

    def finished(meta: TableMeta, file: File) -> None:
        tables.append(Table(meta, file, engine.store_id, engine.block_cache))

    metas = [table.meta for table in inputs]
    seqnos = (min(meta.first_seqno for meta in metas), max(meta.last_seqno for meta in metas))
    next_number = partial(_take_number, engine)
    outputs = Outputs(choice.level + 1, engine.store_id, engine.options, seqnos, next_number, finished)
    try:
        yield from _write_merged(engine, choice, survivors, outputs)
        yield from outputs.finish()
    except OSError as error:
        yield from remove_files(outputs.names)
        raise engine.write_error("compacting", error) from error
    except GeneratorExit:
        raise  # the store is closing: what was written is removed by the next opening
    except BaseException:
        yield from remove_files(outputs.names)
        raise
    edit = Edit(
        added=tuple(table.meta for table in tables),
        removed=tuple(table.number for table in inputs),
        next_table=engine.manifest.tables.next_table,
    )
    if choice.level and choice.upper:
        engine.compaction_cursors[choice.level] = choice.upper[-1].min_key
    yield from install(engine, edit, tables, obsolete=[table.name for table in inputs])


def _write_merged(engine: Engine, choice: Merging, survivors: Survivors, outputs: Outputs) -> Op[None]:
    target = choice.level + 1
    runs = [RunSource(choice.lower, use_cache=False)]
    if choice.level == 0:
        runs.extend(RunSource([table], use_cache=False) for table in reversed(choice.upper))
    else:
        runs.append(RunSource(choice.upper, use_cache=False))
    merge = Merge(runs)
    generations = Generations(engine)
    while (page := (yield from merge.next_page())) is not None:
        bottom = not engine.view.version.overlaps_below(target, page[0][0], page[0][-1])
        page = survivors.of(page, bottom=bottom)
        if page[0]:
            page = yield from generations.without_dead(page)
        yield from outputs.add(*page)
        yield PAUSE
    check_all_read(runs, (*choice.upper, *choice.lower))


def _take_number(engine: Engine) -> int:
    """A number for a table. It is used once, even if nothing comes of the table."""
    number = engine.manifest.tables.next_table
    engine.manifest.tables = engine.manifest.tables.with_next_table(number + 1)
    return number
