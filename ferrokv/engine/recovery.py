"""Opening a store: from the files of a directory to an engine that takes writes (docs/format.md sections 2 and 3).

The steps, each durable before the next: identity, manifest, WALs, a new WAL behind them, a new manifest, and last the
removal of what nothing refers to. Recovery that is interrupted anywhere is simply done again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ..errors import CorruptionError
from ..format import control
from ..format.commits import Entry, decode_commit
from ..format.current import Current, decode_current
from ..format.keys import CATALOGUE_NAMES, CATALOGUE_NEXT_ID, decode_keyspace_id, encode_prefix, successor_of_prefix
from ..format.logs import (
    FRAME_MAGIC,
    HEADER_BYTES,
    START,
    TYPE_COMMIT,
    WAL_MAGIC,
    LogHeader,
    Position,
    decode_header,
    holds_later_durable,
    read_frame,
)
from ..options import Options
from ..storage.requests import ListDirectory, Op, Open, ReadAt, Remove, Storage, Sync, WriteAt
from .clock import Clock
from .commit import create_wal
from .engine import Engine
from .install import remove_files
from .manifest import (
    EMPTY as NO_TABLES,
)
from .manifest import (
    Manifest,
    Tables,
    create_manifest,
    read_manifest,
    rename_current,
    write_current_aside,
)
from .memtable import Memtable
from .merge import MemtableSource, Merge, RunSource
from .names import CURRENT, CURRENT_ASIDE, file_name, numbers_of
from .table import BlockCache, Table, damage_in, open_table
from .version import EMPTY as NO_VERSION
from .version import Version
from .view import Catalogue, HotCache, View


class _Wals(NamedTuple):
    """What the WALs say: memtables from old to new (without the empty), and where the last one ends."""

    memtables: list[Memtable]
    last: Position
    highest_number: int
    last_data: bytes  # the newest WAL as it was read


def recover(storage: Storage, options: Options, clock: Clock) -> Op[Engine]:
    """An engine on the store of this directory, which is created if the directory holds none.

    The caller holds the presence lock. `CorruptionError` names a damaged file, and then nothing was changed.
    """
    names = yield ListDirectory()
    if CURRENT not in names:
        yield from _initialise(storage, names, clock)
        names = yield ListDirectory()
    current = yield from _read_current(names)
    tables = yield from read_manifest(current, names.get(file_name("manifest", current.manifest_number), 0))
    generation = int.from_bytes(storage.random_bytes(8), "little")
    page = control.encode_page(current.store_id, storage.boot_id(), generation)
    committed = control.previous_commit(storage.read_page("control", control.CONTROL_BYTES), page)
    wals = yield from _replay(current, names, tables, committed)
    cache = BlockCache(options.block_cache_bytes, len)
    version = yield from _open_tables(current, tables, cache)
    catalogue = yield from _read_catalogue(version, wals.memtables)
    # Order: nothing was changed before this line, so a store that was refused is refused for the same reason next time. The
    # page keeps what it proves until the new WAL replaces it.
    yield from _write_again(wals, committed)
    page = control.encode_page(current.store_id, storage.boot_id(), generation, committed or 0)
    words = storage.map_page("control", page)
    number = max(wals.highest_number, tables.log_number) + 1
    wal = yield from create_wal(storage, current.store_id, number, wals.last, options.memtable_bytes, words)
    manifest = yield from _new_manifest(storage, current, names, tables, wals, number)
    active = Memtable(number, wals.last.seqno)
    sealed = tuple(reversed(wals.memtables))
    hot = HotCache(options.hot_cache_bytes, _entry_bytes)
    view = View(active, sealed, version, catalogue, hot)
    engine = Engine(storage, options, clock, current.store_id, words, wal, manifest, view, cache)
    yield from _remove_leftovers(engine)
    return engine


def _entry_bytes(entry: Entry) -> int:
    """Rough memory of a record in the hot cache: its value, and about 200 bytes of key, tuple and dict."""
    return len(entry[0] or b"") + 200


def _initialise(storage: Storage, names: Mapping[str, int], clock: Clock) -> Op[None]:
    """Make an empty store. CURRENT comes last, so that an interrupted creation is no store."""
    if numbers_of("table", names) or any(number > 1 for number in numbers_of("wal", names)):
        raise CorruptionError("the directory holds data of a store, but its identity is missing", path=CURRENT)
    leftovers = [file_name("wal", 1), CURRENT_ASIDE]
    leftovers += [file_name("manifest", number) for number in numbers_of("manifest", names)]
    for name in leftovers:
        if name in names:
            yield Remove(name)
    current = Current(storage.random_bytes(16), 1, clock())
    wal = yield from create_wal(storage, current.store_id, 1, START, 0, None)
    manifest = yield from create_manifest(storage, current, NO_TABLES)
    yield from write_current_aside(current)
    yield from rename_current()
    wal.file.close()
    manifest.file.close()


def _read_current(names: Mapping[str, int]) -> Op[Current]:
    file = yield Open(CURRENT)
    data: bytes = yield ReadAt(file, 0, 4096)
    file.close()
    with damage_in(CURRENT):
        current = decode_current(data)
    name = file_name("manifest", current.manifest_number)
    if name not in names:
        raise CorruptionError("the manifest that CURRENT names is missing", path=name)
    return current


def _replay(current: Current, names: Mapping[str, int], tables: Tables, committed: int | None) -> Op[_Wals]:
    """Read all WALs from the manifest's log number on, checking that each goes on where the one before ended."""
    numbers = [number for number in numbers_of("wal", names) if number >= tables.log_number]
    logs: list[tuple[LogHeader, bytes]] = []
    for number in numbers:
        name = file_name("wal", number)
        file = yield Open(name)
        data: bytes = yield ReadAt(file, 0, names[name])
        file.close()
        if len(data) != names[name]:
            raise CorruptionError("WAL is shorter than its directory entry says", path=name, offset=len(data))
        with damage_in(name):
            try:
                header = decode_header(data, WAL_MAGIC, current.store_id, number)
            except CorruptionError:
                # Frames come only after the header was synced: without any, this WAL was never finished.
                if FRAME_MAGIC in data[HEADER_BYTES:]:
                    raise
                continue
        logs.append((header, data))
    if not logs or logs[0][0].number != tables.log_number:
        raise CorruptionError("a WAL that the manifest needs is missing", path=file_name("wal", tables.log_number))
    memtables = []
    position = logs[0][0].predecessor
    for i, (header, data) in enumerate(logs):
        successor = logs[i + 1][0].predecessor if i + 1 < len(logs) else None
        with damage_in(file_name("wal", header.number)):
            if i and header.predecessor != position:
                raise CorruptionError("WAL does not go on where the one before it ends", offset=48)
            if successor is None:
                memtable, position = _replay_newest(header, data, committed)
            else:
                memtable, position = _replay_until(header, data, successor)
        if memtable.entries:
            memtables.append(memtable)
    return _Wals(memtables, position, max(numbers), logs[-1][1])


def _replay_until(header: LogHeader, data: bytes, successor: Position) -> tuple[Memtable, Position]:
    """The memtable of a WAL whose end its successor recorded; every frame up to there had been synced."""
    memtable, position = _read_frames(header, data, successor.end)
    if position != successor:
        raise CorruptionError(f"WAL frame does not verify before the end: end={successor.end}", offset=position.end)
    return memtable, position


def _replay_newest(header: LogHeader, data: bytes, committed: int | None) -> tuple[Memtable, Position]:
    """The memtable of the newest WAL and its logical end: what was acknowledged, or the torn tail.

    `committed` is the COMMIT word of an earlier process of this boot: at least so much had been acknowledged. Never taken for
    the end, because the page itself is not synced, and may be older than the log.
    """
    memtable, position = _read_frames(header, data, len(data))
    proven = (-1, 0) if committed is None else control.unpack_position(committed)
    lost = proven > (header.number & 0xFFFFFFFF, position.end)
    if lost or holds_later_durable(data, header.checksum, position.end):
        raise CorruptionError("acknowledged WAL frame does not verify or is missing", offset=position.end)
    return memtable, position


def _read_frames(header: LogHeader, data: bytes, end: int) -> tuple[Memtable, Position]:
    """The memtable of the frames before `end`, as far as they verify, and where that is."""
    position = header.start()
    memtable = Memtable(header.number, position.seqno)
    while position.end < end and (frame := read_frame(data, header.checksum, position)) is not None:
        if frame.type != TYPE_COMMIT:
            raise CorruptionError(f"WAL frame of an unknown type: type={frame.type}", offset=position.end)
        memtable.apply(decode_commit(frame.payload, frame.records, frame.after.seqno), frame.after.seqno)
        position = frame.after
    memtable.wal_bytes = position.end
    return memtable, position


def _write_again(wals: _Wals, committed: int | None) -> Op[None]:
    """Durability: a process that was killed between write and sync, or whose sync failed, leaves bytes that only the page cache
    has, and a sync may even report success for them. A new WAL will say that this one ends behind them. So what is not proven
    by COMMIT is written once more, which makes it dirty, and synced."""
    number, end = (-1, 0) if committed is None else control.unpack_position(committed)
    start = end if number == wals.last.number & 0xFFFFFFFF else HEADER_BYTES
    file = yield Open(file_name("wal", wals.last.number))
    if start < wals.last.end:
        yield WriteAt(file, start, wals.last_data[start : wals.last.end])
    yield Sync(file, metadata=True)
    file.close()


def _open_tables(current: Current, tables: Tables, cache: BlockCache) -> Op[Version]:
    opened: list[Table] = []
    for number, meta in tables.metas.items():
        try:
            opened.append((yield from open_table(meta, current.store_id, cache)))
        except FileNotFoundError as error:
            raise CorruptionError(
                "a table that the manifest names is missing", path=file_name("table", number)
            ) from error
    return NO_VERSION.changed(opened, ())


def _new_manifest(
    storage: Storage, current: Current, names: Mapping[str, int], tables: Tables, wals: _Wals, wal_number: int
) -> Op[Manifest]:
    """A manifest of our own: the old one's tail may be torn, so nothing is appended to it."""
    highest_table = max(numbers_of("table", names), default=0)
    state = tables._replace(
        # Order: the new WAL is durable already, so that the log number never points to a file that is not there.
        log_number=wals.memtables[0].number if wals.memtables else wal_number,
        next_table=max(tables.next_table, highest_table + 1),
    )
    number = max(numbers_of("manifest", names)) + 1
    if CURRENT_ASIDE in names:
        yield Remove(CURRENT_ASIDE)
    manifest = yield from create_manifest(storage, current._replace(manifest_number=number), state)
    yield from write_current_aside(manifest.current)
    yield from rename_current()
    return manifest


def _read_catalogue(version: Version, memtables: list[Memtable]) -> Op[Catalogue]:
    """The keyspaces, from a merge over the catalogue's key range."""
    low, high = CATALOGUE_NEXT_ID, successor_of_prefix(CATALOGUE_NAMES)
    runs = [RunSource([t for t in level if t.min_key < (high or b"")], low, high) for level in version.levels[:0:-1]]
    runs += [RunSource([t], low, high) for t in reversed(version.levels[0]) if t.min_key < (high or b"")]
    merge = Merge([*runs, *(MemtableSource(memtable, low, high) for memtable in memtables)])
    prefixes: dict[str, bytes] = {}
    next_id = 1
    while (page := (yield from merge.next_page())) is not None:
        for key, (value, *_) in zip(*page, strict=True):
            if value is None:
                continue
            if key == CATALOGUE_NEXT_ID:
                next_id = max(next_id, decode_keyspace_id(value))
            elif key.startswith(CATALOGUE_NAMES):
                prefixes[key[len(CATALOGUE_NAMES) :].decode()] = encode_prefix(decode_keyspace_id(value))
                next_id = max(next_id, decode_keyspace_id(value) + 1)
    return Catalogue(prefixes, next_id)


def _remove_leftovers(engine: Engine) -> Op[None]:
    """Remove the files of a store that nothing refers to: unfinished tables, old manifests, flushed WALs."""
    names = yield ListDirectory()
    manifest = engine.manifest
    dead = [file_name("manifest", n) for n in numbers_of("manifest", names) if n != manifest.current.manifest_number]
    dead += [file_name("table", n) for n in numbers_of("table", names) if n not in manifest.tables.metas]
    live_wals = {engine.view.active.number, *(memtable.number for memtable in engine.view.sealed)}
    log_number = manifest.tables.log_number
    dead += [file_name("wal", n) for n in numbers_of("wal", names) if n < log_number]
    assert all(n >= log_number for n in live_wals)
    yield from remove_files(dead)
