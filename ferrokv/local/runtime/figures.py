"""Collects the figures of `stats()`."""

from __future__ import annotations

from ...errors import FerroKVError
from ...stats import LevelStats, ProcessStats, Stats
from ..engine.engine import Engine
from ..storage.directory import Directory
from ..storage.local import LocalStorage
from .brake import Brake


def stats_of(directory: Directory, storage: LocalStorage, engine: Engine, brake: Brake) -> Stats:
    """Build `Stats` from memory, with a few file system calls to see which processes are alive."""
    view = engine.view
    counters = engine.counters
    waiting = engine.compactor.waiting
    processes = storage.attached()
    # The word keeps the pid of a dead holder, which the next holder has to clean up after.
    living = {engine.process_id, *(process.pid for process in processes)}
    levels = tuple(
        LevelStats(
            len(tables),
            sum(table.meta.file_bytes for table in tables),
            sum(table.meta.records for table in tables),
            sum(table.meta.tombstones for table in tables),
        )
        for tables in view.version.levels
    )
    return Stats(
        path=directory.path,
        store_id=engine.store_id.hex(),
        file_system=directory.file_system,
        durable=directory.durable,
        failed=_failure(engine),
        processes=tuple(ProcessStats(*process) for process in processes),
        compactor_pid=engine.compactor_pid if engine.compactor_pid in living else None,
        seqno=view.active.seqno,
        keyspaces=tuple(sorted(view.catalogue.prefixes)),
        quotas=dict(view.catalogue.quotas),
        wal_number=view.active.number,
        wal_bytes=engine.wal.position.end,
        memtable_records=len(view.active.entries),
        sealed_memtables=len(view.sealed),
        levels=levels,
        waiting_tables=len(waiting),
        waiting_bytes=sum(table.bytes for table in waiting),
        commits=counters.commits,
        records_written=counters.records,
        rotations=counters.rotations,
        flushes=counters.flushes,
        compactions=counters.compactions,
        tables_dropped_unread=counters.tables_dropped_unread,
        records_expired=counters.records_expired,
        records_evicted=counters.evicted,
        level0_slowdown=engine.options.slowdown_at,
        level0_stop=engine.options.stop_at,
        compaction_score=engine.compaction_score,
        score_slowdown=engine.options.score_slowdown,
        writes_slowed=brake.slowed,
        writes_stopped=brake.stopped,
        stalled_seconds=brake.seconds,
        damaged_tables=engine.damaged_tables,
    )


def _failure(engine: Engine) -> str | None:
    try:
        engine.check_usable()
    except FerroKVError as error:
        return str(error)
    return None
