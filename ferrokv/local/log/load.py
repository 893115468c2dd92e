"""From the files of a store to what a replica holds: tables, memtables, catalogue, and the WAL's tail.

`load` serves a process that attaches beside living ones, or that has fallen behind: it follows the COMMIT word and changes
nothing. Recovery, which has no such word to trust, replays with `replay_all`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from ...errors import CorruptionError, StoreBusy
from ..engine.engine import Wal
from ..engine.manifest import Manifest, Tables, overlaps, read_manifest
from ..format import control
from ..format.commits import Entry
from ..format.current import Current, decode_current
from ..format.keys import (
    CATALOGUE_END,
    CATALOGUE_NEXT_ID,
)
from ..format.limits import WAL_BYTES_MAX
from ..format.logs import (
    FRAME_MAGIC,
    HEADER_BYTES,
    WAL_MAGIC,
    LogHeader,
    Position,
    decode_header,
    holds_later_durable,
)
from ..format.wal import next_commit
from ..names import CURRENT, file_name, numbers_of
from ..storage.requests import PAUSE, File, ListDirectory, Nap, Op, Open, ReadAt, Words
from ..tree.files import TableGoneError
from ..tree.lookups import BlockCache
from ..tree.memtable import Memtable
from ..tree.merge import MemtableSource, Merge, RunSource
from ..tree.table import Table, damage_in
from ..tree.version import EMPTY as NO_VERSION
from ..tree.version import Version
from ..tree.view import Catalogue, catalogue_after

ATTEMPTS_MAX: Final = 200
NAP_SECONDS: Final = 0.002
PAUSE_FRAMES: Final = 256


class State(NamedTuple):
    """A store at one moment. `memtables` come from old to new; the last is the one of `wal`."""

    tables: Tables
    version: Version
    version_word: int
    memtables: list[Memtable]
    wal: Wal
    catalogue: Catalogue


class Replay(NamedTuple):
    """What the WALs say without a COMMIT word to trust: memtables from old to new (without the empty), and the end."""

    memtables: list[Memtable]
    last: LogHeader
    end: Position
    highest_number: int
    last_data: bytes  # the newest WAL as it was read
    unfinished: list[int]  # WALs whose header was never whole


class _MovedOnError(Exception):
    """Files went away while they were read: the manifest names others now."""


def load(
    words: Words, store_id: bytes, cache: BlockCache, opened: Mapping[int, Table], attempts: int = ATTEMPTS_MAX
) -> Op[State]:
    """The state at COMMIT, read while other processes go on; tables of `opened` are taken over. Begins anew when files go away.

    `CorruptionError` when something that must be there is missing each time.
    """
    missing: Exception | None = None
    for _ in range(attempts):
        try:
            return (yield from _load_once(words, store_id, cache, opened))
        except (FileNotFoundError, TableGoneError, _MovedOnError) as error:
            missing = error
        yield Nap(NAP_SECONDS)
    if isinstance(missing, TableGoneError):
        raise missing
    if isinstance(missing, FileNotFoundError):
        raise CorruptionError("a file that the manifest needs is missing", path=str(missing.filename)) from missing
    raise StoreBusy("the tables change faster than they can be opened")


def _load_once(words: Words, store_id: bytes, cache: BlockCache, opened: Mapping[int, Table]) -> Op[State]:
    version_word = words[control.VERSION]
    number, end = control.unpack_position(words[control.COMMIT])
    tables, version = yield from load_tables(store_id, cache, opened)
    check_tables(tables, (yield ListDirectory()))
    # COMMIT was loaded first, so by now its WAL may have been flushed. The word has 32 bits of the number.
    wal_number = control.whole_wal_number(number, tables.log_number)
    if wal_number - tables.log_number >= 1 << 31:
        raise _MovedOnError
    memtable, wal = yield from _load_wal(store_id, wal_number, end)
    memtables = [memtable]
    newest = wal
    while wal.position.number > tables.log_number:
        # From new to old, for only a successor knows where a WAL ends.
        expected = wal.header.predecessor
        memtable, older = yield from _load_wal(store_id, expected.number, expected.end)
        if older.position != expected:
            raise CorruptionError("WAL does not go on where the one before it ends", path=wal.file.name, offset=48)
        memtables.insert(0, memtable)
        wal = older
    catalogue = yield from read_catalogue(version, memtables)
    return State(tables, version, version_word, memtables, newest, catalogue)


def load_tables(store_id: bytes, cache: BlockCache, opened: Mapping[int, Table]) -> Op[tuple[Tables, Version]]:
    """What the manifest says now, as a version. `FileNotFoundError` if it moved on meanwhile."""
    current = yield from read_current()
    if current.store_id != store_id:
        raise CorruptionError("another store has taken the place of this one", path=CURRENT)
    manifest = yield from read_manifest(current)
    manifest.file.close()
    return manifest.tables, make_version(store_id, manifest.tables, cache, opened)


def _load_wal(store_id: bytes, number: int, end: int) -> Op[tuple[Memtable, Wal]]:
    """The memtable of the frames before `end`, all of which are durable, and the file's tail there."""
    file = yield Open(file_name("wal", number))
    data: bytes = yield ReadAt(file, 0, end)
    with damage_in(file.name):
        header = decode_header(data, WAL_MAGIC, store_id, number)
        memtable, position = yield from _read_frames(header, data, end)
        if position.end != end:
            raise CorruptionError(f"WAL frame does not verify before the end: end={end}", offset=position.end)
    return memtable, Wal(file, header, position)


def read_current() -> Op[Current]:
    """The store's identity. `FileNotFoundError` if there is none."""
    file = yield Open(CURRENT)
    data: bytes = yield ReadAt(file, 0, 4096)
    file.close()
    with damage_in(CURRENT):
        return decode_current(data)


def read_current_manifest() -> Op[tuple[Current, Manifest]]:
    """Identity and manifest of a store that nobody changes: what is missing is damage."""
    current = yield from read_current()
    try:
        return current, (yield from read_manifest(current))
    except FileNotFoundError as error:
        raise CorruptionError("the manifest that CURRENT names is missing", path=str(error.filename)) from error


def make_version(store_id: bytes, tables: Tables, cache: BlockCache, opened: Mapping[int, Table]) -> Version:
    """A version with all the manifest's tables, none of which is looked at; those in `opened` keep what they have loaded."""
    for reason in overlaps(tables.metas.values()):
        raise CorruptionError(f"manifest with {reason}")
    version_tables: list[Table] = []
    for number, meta in tables.metas.items():
        table = opened.get(number)
        if table is None:
            table = Table(meta, None, store_id, cache)
        elif table.meta.level != meta.level or table.is_held:
            table = table.moved(meta.level)
        version_tables.append(table)
    return NO_VERSION.changed(version_tables, ())


def check_tables(tables: Tables, names: Mapping[str, int]) -> None:
    """Return if each table is there; else `TableGoneError`."""
    for number in tables.metas:
        name = file_name("table", number)
        if name not in names:
            raise TableGoneError("a table that the manifest names is missing", path=name)


def replay_all(current: Current, names: Mapping[str, int], tables: Tables, committed: int | None) -> Op[Replay]:
    """Read all WALs from the manifest's log number on, checking that each goes on where the one before ended."""
    numbers = [number for number in numbers_of("wal", names) if number >= tables.log_number]
    logs: list[tuple[LogHeader, bytes]] = []
    unfinished = []
    for number in numbers:
        name = file_name("wal", number)
        if names[name] > WAL_BYTES_MAX:
            raise CorruptionError("WAL is longer than one may be", path=name, offset=WAL_BYTES_MAX)
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
                unfinished.append(number)
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
                memtable, position = yield from _replay_newest(header, data, committed)
            else:
                memtable, position = yield from _replay_until(header, data, successor)
        if memtable.entries:
            memtables.append(memtable)
    return Replay(memtables, logs[-1][0], position, max(numbers), logs[-1][1], unfinished)


def _replay_until(header: LogHeader, data: bytes, successor: Position) -> Op[tuple[Memtable, Position]]:
    """The memtable of a WAL whose end its successor recorded; every frame up to there had been synced."""
    memtable, position = yield from _read_frames(header, data, successor.end)
    if position != successor:
        raise CorruptionError(f"WAL frame does not verify before the end: end={successor.end}", offset=position.end)
    return memtable, position


def _replay_newest(header: LogHeader, data: bytes, committed: int | None) -> Op[tuple[Memtable, Position]]:
    """The memtable of the newest WAL and its logical end: what was acknowledged, or the torn tail.

    `committed` is the COMMIT word of an earlier process of this boot: at least so much had been acknowledged. Never taken for
    the end, because the page itself is not synced, and may be older than the log.
    """
    memtable, position = yield from _read_frames(header, data, len(data))
    proven = (-1, 0) if committed is None else control.unpack_position(committed)
    lost = proven > (control.wal_word(header.number), position.end)
    if lost or holds_later_durable(data, header.checksum, position.end):
        raise CorruptionError("acknowledged WAL frame does not verify or is missing", offset=position.end)
    return memtable, position


def _read_frames(header: LogHeader, data: bytes, end: int) -> Op[tuple[Memtable, Position]]:
    """The memtable of the frames before `end`, as far as they verify, and where that is."""
    memtable = Memtable(header.number, header.predecessor.seqno)
    frames = 0
    position = header.start()
    while position.end < end and (found := next_commit(data, header, position)) is not None:
        entries, position = found
        memtable.apply(entries, position.seqno)
        frames += 1
        if not frames % PAUSE_FRAMES:
            yield PAUSE
    memtable.wal_bytes = position.end
    return memtable, position


def open_tail(header: LogHeader, end: Position) -> Op[Wal]:
    """The WAL's file, opened to be followed from `end` on."""
    file: File = yield Open(file_name("wal", header.number))
    return Wal(file, header, end)


def read_catalogue(version: Version, memtables: Iterable[Memtable]) -> Op[Catalogue]:
    """The keyspaces, from a merge over the catalogue's key range."""
    low, high = CATALOGUE_NEXT_ID, CATALOGUE_END
    runs = [RunSource(run, low, high) for run in version.runs(low, high)]
    merge = Merge([*runs, *(MemtableSource(memtable, low, high) for memtable in memtables)])
    found: dict[bytes, Entry] = {}
    while (page := (yield from merge.next_page())) is not None:
        found.update(zip(*page, strict=True))
    return catalogue_after(Catalogue({}, 1, {}), found)
