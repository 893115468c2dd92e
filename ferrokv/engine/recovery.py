"""Opening a store: from the files of a directory to an engine that takes writes (docs/format.md sections 2 and 3).

The steps, each durable before the next: identity, manifest, WALs, a new WAL behind them, a new manifest, and last the
removal of what nothing refers to. Recovery that is interrupted anywhere is simply done again.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import CorruptionError
from ..format import control
from ..format.current import Current
from ..format.logs import HEADER_BYTES, START, Position
from ..options import Options
from ..storage.requests import ListDirectory, Op, Open, Remove, Storage, Sync, WriteAt
from .clock import Clock
from .commit import create_wal
from .engine import Engine
from .install import remove_files
from .load import Replay, check_tables, make_version, read_catalogue, read_current_manifest, replay_all
from .lookups import make_cache
from .manifest import EMPTY as NO_TABLES
from .manifest import Manifest, Tables, create_manifest, rename_current, write_current_aside
from .memtable import Memtable
from .names import CURRENT, CURRENT_ASIDE, file_name, numbers_of
from .view import HotCache, View, entry_bytes


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
    old.file.close()
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
    words[control.LEVEL0] = len(version.levels[0])
    number = max(replay.highest_number, tables.log_number) + 1
    wal = yield from create_wal(storage, current.store_id, number, replay.end, options.memtable_bytes)
    for word in (control.INTENT, control.COMMIT, control.APPENDED):
        words[word] = control.pack_position(number, HEADER_BYTES)
    manifest = yield from _new_manifest(storage, current, names, tables, replay, number)
    active = Memtable(number, replay.end.seqno)
    hot = HotCache(options.hot_cache_bytes, entry_bytes)
    view = View(active, tuple(reversed(replay.memtables)), version, catalogue, hot)
    manifest.version_word = words[control.VERSION]
    engine = Engine(storage, options, clock, current.store_id, words, wal, view, cache, manifest.version_word)
    engine.open_manifest = manifest
    engine.certain_ms()  # so that a step of the wall clock is one from here on
    yield from _remove_leftovers(engine, replay.unfinished)
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
    wal = yield from create_wal(storage, current.store_id, tables.log_number, before, 0)
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
    start = end if number == replay.end.number & 0xFFFFFFFF else 0  # the header, too, may be in the page cache only
    file = yield Open(file_name("wal", replay.end.number))
    if start < replay.end.end:
        yield WriteAt(file, start, replay.last_data[start : replay.end.end])
    yield Sync(file, metadata=True)
    file.close()


def _new_manifest(
    storage: Storage, current: Current, names: Mapping[str, int], tables: Tables, replay: Replay, wal_number: int
) -> Op[Manifest]:
    """A manifest of our own: the old one's tail may be torn, so nothing is appended to it."""
    highest_table = max(numbers_of("table", names), default=0)
    state = tables._replace(
        # Order: the new WAL is durable already, so that the log number never points to a file that is not there.
        log_number=replay.memtables[0].number if replay.memtables else wal_number,
        next_table=max(tables.next_table, highest_table + 1),
    )
    number = max(numbers_of("manifest", names)) + 1
    if CURRENT_ASIDE in names:
        yield Remove(CURRENT_ASIDE)
    manifest = yield from create_manifest(storage, current._replace(manifest_number=number), state)
    yield from write_current_aside(manifest.current)
    yield from rename_current()
    return manifest


def _remove_leftovers(engine: Engine, unfinished: list[int]) -> Op[None]:
    """Remove the files of a store that nothing refers to: unfinished tables and WALs, old manifests, flushed WALs."""
    names = yield ListDirectory()
    manifest = engine.manifest
    dead = [file_name("manifest", n) for n in numbers_of("manifest", names) if n != manifest.current.manifest_number]
    dead += [file_name("table", n) for n in numbers_of("table", names) if n not in manifest.tables.metas]
    live_wals = {engine.view.active.number, *(memtable.number for memtable in engine.view.sealed)}
    log_number = manifest.tables.log_number
    dead += [file_name("wal", n) for n in numbers_of("wal", names) if n < log_number or n in unfinished]
    assert all(n >= log_number for n in live_wals)
    yield from remove_files(dead)
