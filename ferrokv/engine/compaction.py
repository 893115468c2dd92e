"""Carrying out what the picker chose: drop, move or merge, always by one manifest edit."""

from __future__ import annotations

from typing import assert_never

from ..errors import CorruptionError
from ..format.edits import Edit, TableMeta
from ..storage.requests import PAUSE, Op, SyncDirectory
from .builder import TableBuilder
from .collected import Generations
from .engine import Engine
from .install import install, remove_files
from .merge import Merge, RunSource
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
        yield from install(engine, edit, obsolete=[table.file.name for table in choice.tables])
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
    outputs = _Outputs(engine, choice)
    inputs = (*choice.upper, *choice.lower)
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
        added=tuple(table.meta for table in outputs.tables),
        removed=tuple(table.number for table in inputs),
        next_table=engine.manifest.tables.next_table,
    )
    if choice.level and choice.upper:
        engine.compaction_cursors[choice.level] = choice.upper[-1].min_key
    yield from install(engine, edit, outputs.tables, obsolete=[table.file.name for table in inputs])


def _write_merged(engine: Engine, choice: Merging, survivors: Survivors, outputs: _Outputs) -> Op[None]:
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
    found = sum(run.records_read for run in runs)
    expected = sum(table.meta.records for table in (*choice.upper, *choice.lower))
    if found != expected:
        names = ",".join(table.file.name for table in (*choice.upper, *choice.lower))
        raise CorruptionError(f"compaction did not find every record: expected={expected} found={found}", path=names)


class _Outputs:
    """The tables that a merge writes, each closed at about `table_bytes`."""

    def __init__(self, engine: Engine, choice: Merging) -> None:
        inputs: list[TableMeta] = [table.meta for table in (*choice.upper, *choice.lower)]
        self._engine = engine
        self._level = choice.level + 1
        self._seqnos = (min(m.first_seqno for m in inputs), max(m.last_seqno for m in inputs))
        self._builder: TableBuilder | None = None
        self.names: list[str] = []
        self.tables: list[Table] = []

    def add(self, keys: list[bytes], entries: list[tuple[bytes | None, int, int, object]]) -> Op[None]:
        if not keys:
            return
        if self._builder is None:
            self._builder = self._new_builder()
        yield from self._builder.add(keys, entries)
        if self._builder.file_bytes >= self._engine.options.table_bytes:
            yield from self._close()

    def finish(self) -> Op[None]:
        if self._builder is not None:
            yield from self._close()
        if self.tables:
            yield SyncDirectory()

    def _new_builder(self) -> TableBuilder:
        engine = self._engine
        number = engine.manifest.tables.next_table
        engine.manifest.tables = engine.manifest.tables.with_next_table(number + 1)
        builder = TableBuilder(number, self._level, engine.store_id, engine.options.block_bytes, self._seqnos)
        self.names.append(builder.name)
        return builder

    def _close(self) -> Op[None]:
        assert self._builder is not None
        builder, self._builder = self._builder, None
        meta, file = yield from builder.finish()
        self.tables.append(Table(meta, file, self._engine.store_id, self._engine.block_cache))
