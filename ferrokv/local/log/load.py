"""Loading a store from its files: tables, memtables, catalogue, and the tail of the WAL.

`load` is for a process that attaches beside others, or that has fallen too far behind to follow. It
reads up to where COMMIT says that the WAL is durable, and changes no file. Recovery has no COMMIT
word to trust. It uses `replay_all`, which finds the end of the WAL from the frames.
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


class ReplayState(NamedTuple):
    """A store at one moment.

    The memtables are ordered from old to new; the last one is that of `wal`.
    """

    tables: Tables
    version: Version
    version_word: int
    memtables: list[Memtable]
    wal: Wal
    catalogue: Catalogue


class Replay(NamedTuple):
    """What the WALs hold, read without trusting a COMMIT word."""

    memtables: list[Memtable]  # from old to new, without empty ones
    last: LogHeader  # of the newest WAL
    end: Position
    highest_number: int
    last_data: bytes  # the bytes of the newest WAL
    unfinished: list[int]  # WALs whose header was never completed


class _MovedOnError(Exception):
    """Files were removed while this was reading. The manifest names others by now."""


def load(
    words: Words, store_id: bytes, cache: BlockCache, opened: Mapping[int, Table], attempts: int = ATTEMPTS_MAX
) -> Op[ReplayState]:
    """Load the state as of COMMIT, while other processes go on.

    Start again if files are removed meanwhile. Tables in `opened` are reused. Raises
    `CorruptionError` if a file that must exist is missing each time, `StoreBusy` if the tables
    change faster than they can be loaded.
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


def _load_once(words: Words, store_id: bytes, cache: BlockCache, opened: Mapping[int, Table]) -> Op[ReplayState]:
    version_word = words[control.VERSION]
    number, end = control.unpack_position(words[control.COMMIT])
    tables, version = yield from load_tables(store_id, cache, opened)
    check_tables(tables, (yield ListDirectory()))
    # COMMIT was loaded before the manifest was read, so its WAL may have been flushed and removed
    # meanwhile. The word holds 32 bits of the WAL's number.
    wal_number = control.whole_wal_number(number, tables.log_number)
    if wal_number - tables.log_number >= 1 << 31:
        raise _MovedOnError
    memtable, wal = yield from _load_wal(store_id, wal_number, end)
    memtables = [memtable]
    newest = wal
    while wal.position.number > tables.log_number:
        # From new to old, because only the header of its successor says where a WAL ends.
        expected = wal.header.predecessor
        memtable, older = yield from _load_wal(store_id, expected.number, expected.end)
        if older.position != expected:
            raise CorruptionError("WAL does not continue the one before it", path=wal.file.name, offset=48)
        memtables.insert(0, memtable)
        wal = older
    catalogue = yield from read_catalogue(version, memtables)
    return ReplayState(tables, version, version_word, memtables, newest, catalogue)


def load_tables(store_id: bytes, cache: BlockCache, opened: Mapping[int, Table]) -> Op[tuple[Tables, Version]]:
    """Read the manifest and make a version of it.

    `FileNotFoundError` if the manifest was replaced meanwhile.
    """
    current = yield from read_current()
    if current.store_id != store_id:
        raise CorruptionError("another store has taken the place of this one", path=CURRENT)
    manifest = yield from read_manifest(current)
    manifest.file.close()
    return manifest.tables, make_version(store_id, manifest.tables, cache, opened)


def _load_wal(store_id: bytes, number: int, end: int) -> Op[tuple[Memtable, Wal]]:
    """Load WAL `number` up to `end`, before which all frames are durable.

    Return the memtable and the WAL.
    """
    file = yield Open(file_name("wal", number))
    data: bytes = yield ReadAt(file, 0, end)
    with damage_in(file.name):
        header = decode_header(data, WAL_MAGIC, store_id, number)
        memtable, position = yield from _read_frames(header, data, end)
        if position.end != end:
            raise CorruptionError(f"WAL frame does not verify before the end: end={end}", offset=position.end)
    return memtable, Wal(file, header, position)


def read_current() -> Op[Current]:
    """Read the file CURRENT. `FileNotFoundError` if there is none."""
    file = yield Open(CURRENT)
    data: bytes = yield ReadAt(file, 0, 4096)
    file.close()
    with damage_in(CURRENT):
        return decode_current(data)


def read_current_manifest() -> Op[tuple[Current, Manifest]]:
    """Read CURRENT and the manifest of a store that nobody changes: a missing one is damage."""
    current = yield from read_current()
    try:
        return current, (yield from read_manifest(current))
    except FileNotFoundError as error:
        raise CorruptionError("the manifest that CURRENT names is missing", path=str(error.filename)) from error


def make_version(store_id: bytes, tables: Tables, cache: BlockCache, opened: Mapping[int, Table]) -> Version:
    """Return a version with all tables of the manifest. No table file is opened.

    Tables in `opened` are reused, with the parts that they have in memory.
    """
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
    """Raise `TableGoneError` if the file of a table is not among `names`."""
    for number in tables.metas:
        name = file_name("table", number)
        if name not in names:
            raise TableGoneError("a table that the manifest names is missing", path=name)


def replay_all(current: Current, names: Mapping[str, int], tables: Tables, committed: int | None) -> Op[Replay]:
    """Read all WALs from the manifest's log number on, and check that each continues the last.

    `committed` is a COMMIT word that is known to be true, or None; see `_replay_newest`.
    """
    numbers = [number for number in numbers_of("wal", names) if number >= tables.log_number]
    logs: list[tuple[LogHeader, bytes]] = []
    unfinished = []
    for number in numbers:
        name = file_name("wal", number)
        if names[name] > WAL_BYTES_MAX:
            raise CorruptionError("WAL is longer than a WAL may be", path=name, offset=WAL_BYTES_MAX)
        file = yield Open(name)
        data: bytes = yield ReadAt(file, 0, names[name])
        file.close()
        if len(data) != names[name]:
            raise CorruptionError("WAL is shorter than its directory entry says", path=name, offset=len(data))
        with damage_in(name):
            try:
                header = decode_header(data, WAL_MAGIC, current.store_id, number)
            except CorruptionError:
                # The header is synced before the first frame is written. So without frames, the WAL
                # was never finished.
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
                raise CorruptionError("WAL does not continue the one before it", offset=48)
            if successor is None:
                memtable, position = yield from _replay_newest(header, data, committed)
            else:
                memtable, position = yield from _replay_until(header, data, successor)
        if memtable.entries:
            memtables.append(memtable)
    return Replay(memtables, logs[-1][0], position, max(numbers), logs[-1][1], unfinished)


def _replay_until(header: LogHeader, data: bytes, successor: Position) -> Op[tuple[Memtable, Position]]:
    """Replay a WAL up to the end that its successor's header records.

    All frames up to there had been synced.
    """
    memtable, position = yield from _read_frames(header, data, successor.end)
    if position != successor:
        raise CorruptionError(f"WAL frame does not verify before the end: end={successor.end}", offset=position.end)
    return memtable, position


def _replay_newest(header: LogHeader, data: bytes, committed: int | None) -> Op[tuple[Memtable, Position]]:
    """Replay the newest WAL up to the last frame that verifies.

    What follows is a torn tail, or damage. `committed` is the COMMIT word of an earlier process of
    this boot. At least so much had been acknowledged, so if the WAL ends before it, that is damage.
    The WAL may hold more: the page is not synced, and may be older than the WAL.
    """
    memtable, position = yield from _read_frames(header, data, len(data))
    proven = (-1, 0) if committed is None else control.unpack_position(committed)
    lost = proven > (control.wal_word(header.number), position.end)
    if lost or holds_later_durable(data, header.checksum, position.end):
        raise CorruptionError("acknowledged WAL frame does not verify or is missing", offset=position.end)
    return memtable, position


def _read_frames(header: LogHeader, data: bytes, end: int) -> Op[tuple[Memtable, Position]]:
    """Return the memtable of the frames before `end` that verify, and the position after them."""
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
    """Open a WAL to follow it from `end` on."""
    file: File = yield Open(file_name("wal", header.number))
    return Wal(file, header, end)


def read_catalogue(version: Version, memtables: Iterable[Memtable]) -> Op[Catalogue]:
    """Read the catalogue, by a merge over its key range."""
    low, high = CATALOGUE_NEXT_ID, CATALOGUE_END
    runs = [RunSource(run, low, high) for run in version.runs(low, high)]
    merge = Merge([*runs, *(MemtableSource(memtable, low, high) for memtable in memtables)])
    found: dict[bytes, Entry] = {}
    while (page := (yield from merge.next_page())) is not None:
        found.update(zip(*page, strict=True))
    return catalogue_after(Catalogue({}, 1, {}), found)
