"""Recovery: opening a store that no other process has open (docs/format.md sections 2 and 3).

First everything is read and checked: CURRENT, the manifest, and all WALs from the manifest's log
number on, of which the newest may end in a torn tail. Damage is reported before anything is
changed. Then come these steps, each durable before the next:

1. Write and sync the end of the newest WAL again, as far as COMMIT does not prove that it is
   durable, and its name. A killed process or a failed sync may have left bytes, and a file, that
   only memory holds.
2. Reset the control page.
3. Create a new WAL, whose header records where the last one ends. A WAL that was found is never
   appended to, so whatever is behind that end stays dead.
4. Write a new manifest and make CURRENT name it, because the tail of the old one may be torn.
5. Remove files that nothing refers to, and rebuild the reserve.

If recovery is interrupted anywhere, it is done again from the start. A full disk may lack the room
for a new WAL or manifest; `_create_wal` and `_new_manifest` say what is done then. A directory
without CURRENT becomes a new store, unless it holds files of a store, which is damage.
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
from ..storage.requests import ListDirectory, Op, Open, ReadAt, Remove, Rename, Storage, Sync, SyncDirectory, WriteAt
from ..tree.lookups import make_cache
from ..tree.memtable import Memtable
from ..tree.view import HotCache, View, entry_bytes


def recover(storage: Storage, options: Options, clock: Clock) -> Op[Engine]:
    """Recover the store of this directory, or create one if there is none.

    The caller holds the open lock, and has checked that no other process has the store open. If a
    file is damaged, `CorruptionError` names it, and nothing was changed.
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
    # Order: nothing was changed before this line, so a store that is refused is refused for the
    # same reason next time. The control page is kept until then, since its COMMIT is part of the
    # check.
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
    engine.certain_ms()  # initialises the belief about the clock, so that later steps of the wall clock are noticed
    assert all(memtable.number >= manifest.tables.log_number for memtable in (active, *replay.memtables))
    yield from _remove_leftovers(manifest, replay.unfinished)
    yield from rebuild(engine)  # on a full disk, from the space that has just become free, before others take it
    return engine


def _initialise(storage: Storage, names: Mapping[str, int], clock: Clock) -> Op[None]:
    """Create an empty store."""
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
    """Create a store of `tables`, which are durable, and an empty WAL that continues `before`."""
    wal = yield from create_wal(storage, current.store_id, tables.log_number, before, (HEADER_BYTES,))
    manifest = yield from create_manifest(storage, current, tables)
    # Order: CURRENT comes last, so that an interrupted creation leaves no store.
    yield from write_current_aside(current)
    yield from rename_current()
    wal.file.close()
    manifest.file.close()


def _write_again(replay: Replay, committed: int | None) -> Op[None]:
    """Write and sync the part of the newest WAL that COMMIT does not prove durable.

    Durability: a process that was killed before its sync, or whose sync failed, leaves bytes that
    only the page cache holds, and a sync alone may report success without writing them. The header
    of the new WAL will say that they are valid. Writing them again makes their pages dirty, so that
    the sync really writes them.
    """
    number, end = (-1, 0) if committed is None else control.unpack_position(committed)
    # From 0 if nothing is proven, since even the header may be only in the page cache.
    start = end if number == control.wal_word(replay.end.number) else 0
    file = yield Open(file_name("wal", replay.end.number))
    if start < replay.end.end:
        yield WriteAt(file, start, replay.last_data[start : replay.end.end])
    yield Sync(file, metadata=True)
    file.close()
    if start == 0:
        # Its name may not be durable, either, and the new WAL will refer to it.
        yield SyncDirectory()


def _create_wal(storage: Storage, options: Options, old: Manifest, replay: Replay, number: int) -> Op[Wal]:
    """Create the new WAL.

    If there is no space and no spare WAL, first remove what the old manifest does not need, and
    then make a spare WAL from the spare table.
    """
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
    """Remove what the manifest does not need, before there is a new manifest."""
    yield from _write_manifest_again(manifest)
    yield from _remove_leftovers(manifest, replay.unfinished)


def _cut_spare_table(storage: Storage, options: Options) -> Op[None]:
    """Make a spare WAL of the spare table, and a smaller spare table of the rest.

    That will do for flushing the WALs that were made of spare ones, since these are small.
    """
    with suppress(FileNotFoundError):
        yield Rename(SPARE_TABLE, SPARE_WALS[0])
        file = yield Open(SPARE_WALS[0])
        yield from cut_to_length(file, sizes_for(options.memtable_bytes, storage.space()).wal)
        file.close()


def _new_manifest(
    storage: Storage, old: Manifest, names: Mapping[str, int], replay: Replay, wal_number: int
) -> Op[Manifest]:
    """Write a new manifest, since the tail of the old one may be torn.

    On a full disk, keep the old one.
    """
    highest_table = max(numbers_of("table", names), default=0)
    tables = old.tables._replace(next_table=max(old.tables.next_table, highest_table + 1))
    # Order: the new WAL is durable already, so the log number never names a file that does not
    # exist.
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
    """Write the manifest again in place, and sync it.

    Durability: as for the WAL, its last edit may be only in the page cache, and files will be
    removed because of that edit.
    """
    data: bytes = yield ReadAt(manifest.file, 0, manifest.position.end)
    yield WriteAt(manifest.file, 0, data)
    yield Sync(manifest.file, metadata=True)


def _remove_leftovers(manifest: Manifest, unfinished: list[int]) -> Op[None]:
    """Remove files that nothing refers to.

    These are old manifests, unnamed tables, flushed and unfinished WALs, and unfinished pieces of
    the reserve.
    """
    names = yield ListDirectory()
    dead = [file_name("manifest", n) for n in numbers_of("manifest", names) if n != manifest.current.manifest_number]
    dead += [file_name("table", n) for n in numbers_of("table", names) if n not in manifest.tables.metas]
    log_number = manifest.tables.log_number
    dead += [file_name("wal", n) for n in numbers_of("wal", names) if n < log_number or n in unfinished]
    dead += [name + ASIDE for name in ALL_SPARES if name + ASIDE in names]
    yield from remove_files(dead)
