"""Opening a store: from the files of a directory to an engine that takes writes (docs/format.md sections 2 and 3).

The steps, each durable before the next: identity, manifest, WALs, a new WAL behind them, a new manifest, and last the
removal of what nothing refers to. Recovery that is interrupted anywhere is simply done again.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import partial

from ...errors import CorruptionError
from ...options import Options
from ..clock import Clock
from ..compaction.score import announce_score
from ..engine.engine import Engine, Wal
from ..engine.manifest import EMPTY as NO_TABLES
from ..engine.manifest import Manifest, Tables, create_manifest, rename_current, write_current_aside
from ..engine.removal import remove_files
from ..engine.space import rebuild
from ..engine.spares import ALL_SPARES, ASIDE, NO_SPACE, SPARE_TABLE, SPARE_WALS, cut_to_length, sizes_for, wal_sizes
from ..format import control
from ..format.current import Current
from ..format.logs import HEADER_BYTES, START, Position
from ..log.commit import create_wal
from ..log.load import Replay, check_tables, make_version, read_catalogue, read_current_manifest, replay_all
from ..names import CURRENT, CURRENT_ASIDE, file_name, numbers_of
from ..storage.requests import ListDirectory, Op, Open, ReadAt, Remove, Rename, Storage, Sync, WriteAt
from ..tree.lookups import make_cache
from ..tree.memtable import Memtable
from ..tree.view import HotCache, View, entry_bytes


def recover(storage: Storage, options: Options, clock: Clock) -> Op[Engine]:
    """An engine on the store of this directory, which is created if the directory holds none.

    The caller holds the open lock and knows that no other process has the store open. `CorruptionError` names a damaged file,
    and then nothing was changed.
    """
    names = yield ListDirectory()
    if CURRENT not in names:
        yield from _initialise(storage, names, clock)
        names = yield ListDirectory()
    current, old = yield from read_current_manifest()
    tables = old.tables
    generation = int.from_bytes(storage.random_bytes(8), "little")
    page = control.encode_page(current.store_id, storage.boot_id(), generation)
    head = storage.read_page("control", control.HEAD_BYTES)
    committed = control.previous_commit(head, page)
    believed = control.previous_clock(head, page)
    replay = yield from replay_all(current, names, tables, committed)
    check_tables(tables, names)
    cache = make_cache(storage, options)
    version = make_version(current.store_id, tables, cache, {})
    catalogue = yield from read_catalogue(version, replay.memtables)
    # Order: nothing was changed before this line, so a store that was refused is refused for the same reason next time. The
    # page keeps what it proves until the new WAL replaces it.
    yield from _write_again(replay, committed)
    page = control.encode_page(current.store_id, storage.boot_id(), generation, committed or 0, believed)
    words = storage.map_page("control", page)
    announce_score(words, version, options)
    number = max(replay.highest_number, tables.log_number) + 1
    wal = yield from _create_wal(storage, options, old, replay, number)
    words[control.SHORT] = int(wal.allocated < options.memtable_bytes)
    for word in (control.INTENT, control.COMMIT, control.APPENDED):
        words[word] = control.pack_position(number, HEADER_BYTES)
    manifest = yield from _new_manifest(storage, old, names, replay, number)
    active = Memtable(number, replay.end.seqno)
    hot = HotCache(options.hot_cache_bytes, entry_bytes)
    view = View(active, tuple(reversed(replay.memtables)), version, catalogue, hot)
    manifest.version_word = words[control.VERSION]
    engine = Engine(storage, options, clock, current.store_id, words, wal, view, cache, manifest.version_word)
    engine.compactor.open_manifest = manifest
    engine.certain_ms()  # so that a step of the wall clock is one from here on
    assert all(memtable.number >= manifest.tables.log_number for memtable in (active, *replay.memtables))
    yield from _remove_leftovers(manifest, replay.unfinished)
    yield from rebuild(engine)  # on a full disk of what has just come free, before others take it
    return engine


def _initialise(storage: Storage, names: Mapping[str, int], clock: Clock) -> Op[None]:
    """Make an empty store."""
    if numbers_of("table", names) or any(number > 1 for number in numbers_of("wal", names)):
        raise CorruptionError("the directory holds data of a store, but its identity is missing", path=CURRENT)
    leftovers = [file_name("wal", 1), CURRENT_ASIDE]
    leftovers += [file_name("manifest", number) for number in numbers_of("manifest", names)]
    for name in leftovers:
        if name in names:
            yield Remove(name)
    current = Current(storage.random_bytes(16), 1, clock())
    yield from create_store(storage, current, NO_TABLES, START)


def create_store(storage: Storage, current: Current, tables: Tables, before: Position) -> Op[None]:
    """A store of `tables`, whose files and names are durable, and of an empty WAL that goes on from `before`."""
    wal = yield from create_wal(storage, current.store_id, tables.log_number, before, (HEADER_BYTES,))
    manifest = yield from create_manifest(storage, current, tables)
    # Order: CURRENT comes last, so that an interrupted creation is no store.
    yield from write_current_aside(current)
    yield from rename_current()
    wal.file.close()
    manifest.file.close()


def _write_again(replay: Replay, committed: int | None) -> Op[None]:
    """Durability: a process that was killed between write and sync, or whose sync failed, leaves bytes that only the page cache
    has, and a sync may even report success for them. A new WAL will say that this one ends behind them. So what is not proven
    by COMMIT is written once more, which makes it dirty, and synced."""
    number, end = (-1, 0) if committed is None else control.unpack_position(committed)
    # From 0 if nothing is proven, for the header, too, may be in the page cache only.
    start = end if number == control.wal_word(replay.end.number) else 0
    file = yield Open(file_name("wal", replay.end.number))
    if start < replay.end.end:
        yield WriteAt(file, start, replay.last_data[start : replay.end.end])
    yield Sync(file, metadata=True)
    file.close()


def _create_wal(storage: Storage, options: Options, old: Manifest, replay: Replay, number: int) -> Op[Wal]:
    """The new WAL; on a full disk whose spare ones were all in use, from what else there is."""
    sizes = wal_sizes(options.memtable_bytes, HEADER_BYTES, short=False)
    store_id = old.current.store_id
    for resort in (None, partial(_remove_early, old, replay), partial(_cut_spare_table, storage, options)):
        if resort is not None:
            yield from resort()
        try:
            return (yield from create_wal(storage, store_id, number, replay.end, sizes, SPARE_WALS))
        except OSError as error:
            if error.errno not in NO_SPACE:
                raise
            code, reason = error.errno, error.strerror
        yield from remove_files([file_name("wal", number)])
    raise OSError(code, reason)


def _remove_early(manifest: Manifest, replay: Replay) -> Op[None]:
    """Remove what the manifest as it was found does not need."""
    yield from _write_manifest_again(manifest)
    yield from _remove_leftovers(manifest, replay.unfinished)


def _cut_spare_table(storage: Storage, options: Options) -> Op[None]:
    """Make a spare WAL of the spare table, which is smaller then: what is in the WALs that were spare ones is small."""
    with suppress(FileNotFoundError):
        yield Rename(SPARE_TABLE, SPARE_WALS[0])
        file = yield Open(SPARE_WALS[0])
        yield from cut_to_length(file, sizes_for(options.memtable_bytes, storage.space()).wal)
        file.close()


def _new_manifest(
    storage: Storage, old: Manifest, names: Mapping[str, int], replay: Replay, wal_number: int
) -> Op[Manifest]:
    """A manifest of our own: the old one's tail may be torn, so nothing is appended to it. On a full disk, the old one."""
    highest_table = max(numbers_of("table", names), default=0)
    tables = old.tables._replace(next_table=max(old.tables.next_table, highest_table + 1))
    # Order: the new WAL is durable already, so that the log number never points to a file that is not there.
    state = tables._replace(log_number=replay.memtables[0].number if replay.memtables else wal_number)
    number = max(numbers_of("manifest", names)) + 1
    if CURRENT_ASIDE in names:
        yield Remove(CURRENT_ASIDE)
    try:
        manifest = yield from create_manifest(storage, old.current._replace(manifest_number=number), state)
        yield from write_current_aside(manifest.current)
    except OSError as error:
        if error.errno not in NO_SPACE:
            raise
        yield from remove_files([file_name("manifest", number), CURRENT_ASIDE])
        yield from _write_manifest_again(old)
        old.tables = tables
        return old
    old.file.close()
    yield from rename_current()
    return manifest


def _write_manifest_again(manifest: Manifest) -> Op[None]:
    """Durability: as for the WAL. Its last edit may be in the page cache only, and files are going to be removed because of it."""
    data: bytes = yield ReadAt(manifest.file, 0, manifest.position.end)
    yield WriteAt(manifest.file, 0, data)
    yield Sync(manifest.file, metadata=True)


def _remove_leftovers(manifest: Manifest, unfinished: list[int]) -> Op[None]:
    """Remove the files of a store that nothing refers to: unfinished tables and WALs, old manifests, flushed WALs."""
    names = yield ListDirectory()
    dead = [file_name("manifest", n) for n in numbers_of("manifest", names) if n != manifest.current.manifest_number]
    dead += [file_name("table", n) for n in numbers_of("table", names) if n not in manifest.tables.metas]
    log_number = manifest.tables.log_number
    dead += [file_name("wal", n) for n in numbers_of("wal", names) if n < log_number or n in unfinished]
    dead += [name + ASIDE for name in ALL_SPARES if name + ASIDE in names]
    yield from remove_files(dead)
