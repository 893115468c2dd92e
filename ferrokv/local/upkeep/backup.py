"""Backups: copying a store, as of one moment, to another directory.

The copy is a store of its own, with its own identity. It is made by merging a pinned view into
tables that do not overlap, so no lock is needed, and other processes go on meanwhile. The copy's
WAL is empty. It starts from the seqno of the moment, because the generations of collections are
made from seqnos and must stay unique (docs/format.md section 4). CURRENT is written last, so an
interrupted copy is no store.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from typing import Final, NamedTuple

from ...errors import CorruptionError, StoreBusy, StoreFull, StorePathError
from ...stats import Progress
from ..compaction.builder import Outputs
from ..compaction.picker import level_bytes_max
from ..compaction.survivors import Survivors
from ..engine.engine import NO_DESCRIPTORS, NO_SPACE, Engine, logger
from ..engine.manifest import Tables
from ..engine.removal import remove_files
from ..format.current import Current
from ..format.edits import TableMeta
from ..format.logs import Position
from ..log.pins import pin_view
from ..log.replica import catch_up
from ..names import CURRENT, CURRENT_ASIDE, numbers_of
from ..opening.recovery import create_store
from ..storage.drivers import complete, elsewhere
from ..storage.lock_files import lock_name
from ..storage.requests import PAUSE, File, ListDirectory, Lock, Op, Remove, Storage, SyncDirectory, T
from ..tree.merge import Merge, RunSource
from ..tree.version import LEVELS
from ..tree.view import View
from .meter import Meter

MAY_BE_THERE: Final = frozenset({lock_name("open")})


class Copy(NamedTuple):
    """The size of a copy."""

    tables: int
    records: int
    bytes: int


def back_up(engine: Engine, target: Storage, progress: Progress | None = None) -> Op[Copy]:
    """Make a durable copy, in the directory of `target`, of all that is acknowledged now.

    `take_target` must have been called before. The driver performs the requests at the source;
    those at the target are performed in between, which blocks. If this ends early, the copy is
    removed. Raises `CorruptionError` for damage in the source; `StoreFull`, `StoreBusy` or
    `StorePathError` for errors at the target.
    """
    try:
        yield from catch_up(engine)
        view = yield from pin_view(engine)
        try:
            return (yield from _copy(engine, view, target, progress))
        finally:
            view.unpin()
    except BaseException:
        _discard(target)
        raise


def check_empty(names: Iterable[str]) -> None:
    """Raise `StorePathError` if a directory with files of these `names` cannot become a copy."""
    found = sorted(set(names) - MAY_BE_THERE)
    if not found:
        return
    if CURRENT in found:
        raise StorePathError("the target of a backup holds a store already; choose another target")
    if (
        CURRENT_ASIDE in found
        or numbers_of("table", found)
        or numbers_of("manifest", found)
        or numbers_of("wal", found)
    ):
        raise StorePathError(
            f"the target of a backup holds remains of an interrupted backup; remove them: found={found[0]}"
        )
    raise StorePathError(f"the target of a backup is not empty: found={found[0]}")


def take_target(target: Storage) -> None:
    """Take the open lock of an empty directory, against other stores and backups there.

    The lock is held until the storage is closed. Raises `StorePathError` if the directory is not
    empty, `StoreBusy` if another process has the lock.
    """
    try:
        # Order: check before anything is created, and again when nobody else can create anything.
        check_empty(target.perform(ListDirectory()))
        if not target.perform(Lock("open", 0)):
            raise StoreBusy("another process is opening the target of the backup, or is making a backup there")
        check_empty(target.perform(ListDirectory()))
    except OSError as error:
        raise target_error(error) from error


def _copy(engine: Engine, view: View, target: Storage, progress: Progress | None) -> Op[Copy]:
    store_id = target.random_bytes(16)
    assert view.as_of is not None
    metas: list[TableMeta] = []
    numbers = count(1)

    def finished(meta: TableMeta, file: File) -> None:
        file.close()
        metas.append(meta)

    seqnos = (1, max(1, view.as_of))
    outputs = Outputs(1, store_id, engine.options, seqnos, lambda: next(numbers), finished)
    yield from _write_tables(engine, view, target, outputs, progress)
    # Order: the tables' names are durable before any other file exists. So the remains of an
    # interrupted copy are never taken for a store whose creation was interrupted.
    yield from _at(target, outputs.finish())
    level = _level_for(engine, sum(meta.file_bytes for meta in metas))
    tables = Tables({meta.number: meta._replace(level=level) for meta in metas}, 1, next(numbers), view.as_of)
    current = Current(store_id, 1, engine.clock())
    yield PAUSE
    yield from _at(target, create_store(target, current, tables, Position(0, 0, view.as_of, 0)))
    names: dict[str, int] = yield from _at(target, _list())
    size = sum(size for name, size in names.items() if name not in MAY_BE_THERE)
    return Copy(len(metas), sum(meta.records for meta in metas), size)


def _write_tables(engine: Engine, view: View, target: Storage, outputs: Outputs, progress: Progress | None) -> Op[None]:
    tables = view.version.tables()
    sources = view.sources(b"", None, use_cache=False)
    merge = Merge(sources)
    runs = [source for source in sources if isinstance(source, RunSource)]
    survivors = Survivors(engine.passed_ms(), view.catalogue)
    in_memory = sum(memtable.wal_bytes for memtable in view.memtables)
    meter = Meter(sum(table.meta.file_bytes for table in tables) + in_memory, progress)
    while (page := (yield from _read(merge.next_page()))) is not None:
        # The copy has nothing older, so deleted and long expired records hide nothing and are
        # dropped. Records of dead collections are copied, and dropped by the copy's own compaction.
        yield from _at(target, outputs.add(*survivors.of(page, bottom=True)))
        meter.reach(sum(run.bytes_read for run in runs))
        yield PAUSE
    meter.finish()
    yield PAUSE


def _level_for(engine: Engine, size: int) -> int:
    """Return the highest level that has room for the whole copy, so that it needs no compaction."""
    fitting = (level for level in range(1, LEVELS - 1) if size <= level_bytes_max(level, engine.options))
    return next(fitting, LEVELS - 1)


def _read(op: Op[T]) -> Op[T]:
    """Run an operation at the source. A read that fails becomes a `CorruptionError`."""
    try:
        return (yield from op)
    except OSError as error:
        raise CorruptionError(f"a file cannot be read: errno={error.errno} reason={error.strerror}") from error


def _at(target: Storage, op: Op[T]) -> Op[T]:
    """Run an operation at the target. An `OSError` becomes one of the store's errors."""
    try:
        return (yield from elsewhere(op, target))
    except OSError as error:
        raise target_error(error) from error


def target_error(error: OSError) -> StoreFull | StoreBusy | StorePathError:
    """Return the store's error for a failed request at the target."""
    if isinstance(error, StorePathError):
        return error
    facts = f"errno={error.errno} reason={error.strerror}"
    if error.errno in NO_SPACE:
        return StoreFull(f"the backup found no space: {facts}")
    if error.errno in NO_DESCRIPTORS:
        return StoreBusy(f"the backup found no free file descriptor: {facts}")
    return StorePathError(f"the backup cannot be written: file={error.filename} {facts}")


def _list() -> Op[dict[str, int]]:
    names: dict[str, int] = yield ListDirectory()
    return names


def _discard(target: Storage) -> None:
    """Remove what was written.

    An error is only logged; the next backup into this directory will report the remains.
    """
    try:
        complete(_remove_copy(), target)
    except OSError as error:
        logger.warning("could not remove an unfinished backup: %s", error.strerror)


def _remove_copy() -> Op[None]:
    names = yield from _list()
    if CURRENT in names:
        # Order: durably stop it from being a store, before removing anything that a store needs.
        yield Remove(CURRENT)
        yield SyncDirectory()
    yield from remove_files(name for name in names if name != CURRENT and name not in MAY_BE_THERE)
