"""Carrying out one merge, in parts that are installed one after the other.

A merge takes *upper* tables of one level and the *lower* tables that they overlap in the target
level, and writes the result to the target level. Large inputs would take long and need room for all
outputs at once. So the merge is installed in parts. A part ends at a key that lies within no
remaining lower table, once about a table's size was written or used up. The edit of a part adds the
outputs, removes the lower tables that are used up, and records how far the merge has come
(docs/format.md section 3). The upper tables are removed by the edit of the last part. If the
process stops in between, whoever compacts next, in this process or another, resumes the merge
behind the recorded key.

Until the last part, the upper tables hold records that are in the outputs as well. That is
harmless, because reads look at the upper level first, and find the version that the merge has kept.
But no record that an upper table hides may be dropped from the outputs unless the merge also starts
again from the beginning.

A merge is not installed in parts if it is within level 0, if it rewrites tables without upper ones,
or if the disk is so full that the last part might find no room.
"""

from __future__ import annotations

from functools import partial

from ...errors import CorruptionError
from ..engine.engine import Engine, logger
from ..format.control import DAMAGED
from ..format.edits import NO_MERGE, Edit, MergeProgress, TableMeta
from ..names import numbers_of
from ..storage.requests import PAUSE, File, Op
from ..tree.merge import Merge, Page, RunSource
from ..tree.table import Table
from .builder import Outputs
from .dead_generations import Generations
from .fitting import SizeEstimator, newer_than, without_hidden
from .install import install
from .picker import Merging
from .survivors import Survivors


class MergedPages:
    """The records that a merge keeps, page by page. They are written, or only weighed."""

    def __init__(self, engine: Engine, choice: Merging, survivors: Survivors) -> None:
        self._engine = engine
        self._target = choice.target
        self._merge = Merge(_runs(choice))
        self._survivors = survivors
        self._generations = Generations(engine)
        self._newer = newer_than(engine.view, choice.target) if choice.stripped else None
        self.reached = b""
        """The last key of the inputs of the current page."""

    def next_page(self) -> Op[Page | None]:
        """Return the next page, which may be empty; None at the end."""
        page = yield from self._merge.next_page()
        if page is None:
            return None
        self.reached = page[0][-1]
        # In a merge within level 0, tombstones are always kept: they hide records in tables below.
        bottom = self._target > 0 and not self._engine.view.version.overlaps_below(
            self._target, page[0][0], page[0][-1]
        )
        page = self._survivors.of(page, bottom=bottom)
        if page[0]:
            page = yield from self._generations.without_dead(page)
        if self._newer is not None:
            page = yield from without_hidden(self._newer, page)
        return page


def _runs(choice: Merging) -> list[RunSource]:
    """Return the inputs, from old to new."""
    low = choice.done + b"\0" if choice.done else b""
    runs = [RunSource(choice.lower, use_cache=False)]
    if choice.level == 0:
        runs.extend(RunSource([table], low, use_cache=False) for table in reversed(choice.upper))
    else:
        runs.append(RunSource(choice.upper, low, use_cache=False))
    return runs


def weigh(engine: Engine, choice: Merging) -> Op[int]:
    """Return how large the outputs of a merge would be."""
    weigher = SizeEstimator(engine.options.block_bytes, engine.options.table_bytes)
    pages = MergedPages(engine, choice, Survivors(engine.certain_ms(), engine.view.catalogue))
    while (page := (yield from pages.next_page())) is not None:
        yield from weigher.add(*page)
        yield PAUSE
    return weigher.bytes


class Merger:
    """One merge. Only for the holder of the compact lock.

    If it ends early, the outputs of the current part are removed. Parts that are installed already
    stay.
    """

    def __init__(self, engine: Engine, choice: Merging, survivors: Survivors, *, spare: bool = False) -> None:
        self._engine = engine
        self._choice = choice
        self._pages = MergedPages(engine, choice, survivors)
        self._spare = spare  # write the first output to the reserve's spare table
        # Not in parts if the last part may find no room: the space of the first parts would be
        # missing then.
        inputs_bytes = sum(table.meta.file_bytes for table in choice.inputs)
        self._in_parts = choice.target > 0 and bool(choice.upper) and not spare and not engine.is_short
        self._in_parts = self._in_parts and engine.storage.space().free > inputs_bytes
        self._lower = list(reversed(choice.lower))  # the lower tables that are not used up, the next one last
        self._used_up: list[Table] = []  # lower tables that were used up since the last part
        # True if the manifest records a merge under way that the next edit has to change: this one,
        # or one of whose outputs this one drops records that the upper tables hide.
        self._is_under_way = bool(choice.done) or (
            choice.stripped and bool(engine.compactor.manifest.tables.merge.upper)
        )
        metas = [table.meta for table in choice.inputs]
        self._seqnos = min(meta.first_seqno for meta in metas), max(meta.last_seqno for meta in metas)
        # Order: within level 0, the higher number is newer. The number is taken now, so that a
        # flush meanwhile gets a higher one.
        self._level0_number = take_number(engine) if choice.target == 0 else 0
        self._tables: list[Table] = []
        self._outputs = self._new_outputs()

    def run(self) -> Op[None]:
        """Do the merge.

        Raises `StoreFull` if there is no room, and `CorruptionError`, which names the table, if an
        input cannot be read.
        """
        try:
            while (page := (yield from self._pages.next_page())) is not None:
                yield from self._write(page)
                yield PAUSE
            yield from self._install(None)
        except OSError as error:
            yield from self._outputs.give_up()
            raise self._engine.write_error("compacting", error) from error
        except GeneratorExit:
            raise  # no requests can be made here; the next holder of the compact lock removes what was written
        except BaseException:
            yield from self._outputs.give_up()
            raise

    def _write(self, page: Page) -> Op[None]:
        last_key = self._pages.reached
        yield from self._outputs.add(*page)
        while self._lower and self._lower[-1].max_key <= last_key:
            self._used_up.append(self._lower.pop())
        lies_across = bool(self._lower) and self._lower[-1].min_key <= last_key
        size = self._outputs.file_bytes + sum(table.meta.file_bytes for table in self._used_up)
        if size >= self._engine.options.table_bytes and not lies_across and self._in_parts:
            yield from self._install(last_key)

    def _install(self, done: bytes | None) -> Op[None]:
        """Install what was written since the last part.

        `done` is the key reached; None for the last part.
        """
        choice, engine = self._choice, self._engine
        yield from self._outputs.finish()
        self._spare = self._spare and not self._outputs.names
        removed = [*self._used_up, *(choice.upper if done is None else ())]
        progress: MergeProgress | None = None
        if done is not None:
            progress = MergeProgress(choice.level, tuple(table.number for table in choice.upper), done)
        elif self._is_under_way:
            progress = NO_MERGE
        if done is None and choice.level and choice.upper:
            engine.compactor.cursors[choice.level] = choice.upper[-1].min_key
        edit = Edit(
            added=tuple(table.meta for table in self._tables),
            removed=tuple(table.number for table in removed),
            next_table=engine.compactor.manifest.tables.next_table,
            merge=progress,
        )
        tables, self._tables = self._tables, []
        # Order: from here on, `install` is responsible for the files. If it fails, it removes them
        # or makes them orphans.
        self._outputs = self._new_outputs()
        yield from install(engine, edit, tables, obsolete=[table.name for table in removed])
        self._is_under_way = done is not None
        self._used_up = []

    def _new_outputs(self) -> Outputs:
        engine, options = self._engine, self._engine.options
        next_number = partial(take_number, engine)
        if self._choice.target == 0:
            options = options._replace(table_bytes=1 << 62)  # one table, since it has one number, its place in level 0
            next_number = partial(int, self._level0_number)
        # Not a method: that would make a reference cycle of the merger and its outputs, which keeps
        # files open.
        finished = partial(_take_table, engine, self._tables)
        return Outputs(
            self._choice.target, engine.store_id, options, self._seqnos, next_number, finished, spare=self._spare
        )


def _take_table(engine: Engine, tables: list[Table], meta: TableMeta, file: File) -> None:
    tables.append(Table(meta, file, engine.store_id, engine.block_cache))


def take_number(engine: Engine) -> int:
    """Return a number for a new table. It is used only once, even if the table is not finished."""
    number = engine.compactor.manifest.tables.next_table
    engine.compactor.manifest.tables = engine.compactor.manifest.tables.with_next_table(number + 1)
    return number


def set_aside(engine: Engine, error: CorruptionError) -> None:
    """Let compaction work around the table that the error names.

    Raises the error if it names no table, or one that is set aside already.
    """
    numbers = numbers_of("table", [error.path or ""])
    if not numbers or numbers[0] in engine.compactor.damaged:
        raise error
    # Drop the tracebacks, whose frames would keep files open.
    for link in (error, error.__cause__):
        if link is not None:
            link.__traceback__ = None
    engine.compactor.damaged[numbers[0]] = error
    engine.compactor.nothing_fits = engine.compactor.nothing_freed = (0, 0)  # search again, for other merges
    engine.words[DAMAGED] = len(engine.compactor.damaged)
    logger.error("a damaged table is set aside; compaction goes on without it: %s", error)
