"""Flushing: writing sealed memtables to a table of level 0, so that their WALs can go."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from ..engine.compactor import LOOKS_EACH_FLUSH
from ..engine.engine import Engine
from ..format.control import SHORT
from ..format.edits import Edit
from ..names import file_name
from ..storage.requests import PAUSE, Op, SyncDirectory
from ..tree.memtable import Memtable
from ..tree.merge import MemtableSource, Merge
from ..tree.table import Table
from ..tree.view import View
from .builder import TableBuilder
from .fitting import SizeEstimator, memtables_that_fit
from .install import install
from .survivors import Survivors


def flush_due(engine: Engine) -> bool:
    """Return True if the sealed memtables should be flushed.

    That is, together they are as large as a full one, or there are many, or the disk is full.
    """
    sealed = engine.view.sealed
    return bool(sealed) and (
        engine.words[SHORT] != 0
        or len(sealed) >= engine.options.sealed_memtables_max
        or sum(memtable.wal_bytes for memtable in sealed) >= engine.options.memtable_bytes
    )


def flush(engine: Engine) -> Op[bool]:
    """Write the sealed memtables to one table; return False if there were none.

    Readers and writers go on. Only for the holder of the compact lock. On a full disk it takes as
    many of the oldest memtables as there is room for. `StoreFull` leaves everything as it was.
    """
    engine.check_usable()
    view = engine.view
    sealed = tuple(reversed(view.sealed))
    if not sealed:
        return False
    sealed, spare = yield from memtables_that_fit(engine, sealed, partial(_weigh, engine, view))
    newer = next((memtable for memtable in reversed(view.sealed) if memtable not in sealed), view.active)
    tables = engine.compactor.manifest.tables
    number = tables.next_table
    last_seqno = sealed[-1].seqno
    builder = TableBuilder(
        number,
        0,
        engine.store_id,
        engine.options.block_bytes,
        (tables.last_seqno + 1, max(last_seqno, 1)),
        spare=spare,
    )
    # A number is used only once, even if the flush fails.
    engine.compactor.manifest.tables = tables.with_next_table(number + 1)
    try:
        engine.counters.records_expired += yield from _build(engine, view, sealed, builder)
        added = []
        if builder.records:
            meta, file = yield from builder.finish()
            yield SyncDirectory()
            added.append(Table(meta, file, engine.store_id, engine.block_cache))
    except OSError as error:
        yield from builder.give_up()
        raise engine.write_error("flushing a memtable", error) from error
    edit = Edit(
        added=tuple(table.meta for table in added),
        log_number=newer.number,
        next_table=engine.compactor.manifest.tables.next_table,
        last_seqno=max(last_seqno, tables.last_seqno),
    )
    obsolete = [file_name("wal", wal) for wal in range(tables.log_number, newer.number)]
    yield from install(engine, edit, added, sealed, obsolete)
    engine.counters.flushes += 1
    engine.compactor.sweep_looks_left = LOOKS_EACH_FLUSH
    return True


def _build(engine: Engine, view: View, sealed: Iterable[Memtable], builder: TableBuilder | SizeEstimator) -> Op[int]:
    """Add the records to keep to the builder. Return how many records had expired."""
    survivors = Survivors(engine.certain_ms(), view.catalogue)
    merge = Merge([MemtableSource(memtable, b"", None) for memtable in sealed])
    while (page := (yield from merge.next_page())) is not None:
        bottom = not view.version.overlaps_below(-1, page[0][0], page[0][-1])
        keys, entries = survivors.of(page, bottom=bottom)
        yield from builder.add(keys, entries)
        yield PAUSE
    return survivors.expired


def _weigh(engine: Engine, view: View, sealed: tuple[Memtable, ...]) -> Op[int]:
    """Return how large the table of these memtables would be."""
    weigher = SizeEstimator(engine.options.block_bytes, engine.options.memtable_bytes)
    yield from _build(engine, view, sealed, weigher)
    return weigher.bytes
