"""Verification: reading and checking, from disk, all files that make up the store at one moment.

The files are found as a process that opens the store finds them: CURRENT, the manifest, its tables,
and the WALs up to COMMIT. The tables are pinned and the WALs held open before any of them is
checked, so that other processes can go on to write, flush and compact. A read-only replica cannot
pin, and holds the tables open, too.

Some things may look wrong only because other processes go on meanwhile, such as a missing file.
These are *doubts*. A doubt is reported only if a second look finds it again: a file that is needed
at both looks must have existed all the time in between, since no number is used twice.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final, NamedTuple

from ...errors import CorruptionError, StoreBusy, StorePathError
from ...stats import Progress
from ..engine.engine import Engine
from ..engine.manifest import Manifest, overlaps, read_manifest
from ..format import control
from ..format.current import CURRENT_BYTES, Current
from ..format.edits import TableMeta
from ..log.load import ATTEMPTS_MAX, NAP_SECONDS, read_current
from ..log.pins import pin_tables
from ..log.replica import catch_up
from ..names import CURRENT, file_name
from ..storage.requests import PAUSE, File, ListDirectory, Nap, Op, Open
from .findings import Findings, reading_error
from .meter import Meter
from .verify_table import TableCheck
from .verify_wals import WalPart, measure_wals, predecessor_of, verify_wals

MISSING: Final = "a file that the store needs is missing"
Verified = tuple[int, int, int, tuple[CorruptionError, ...]]
"""(files, bytes, records, problems): what was checked, and what was found"""
Doubts = dict[str, CorruptionError]
"""Message -> error. A doubt counts only if a second look finds it again."""


class _FilesToCheck(NamedTuple):
    """The files to check, some of them held open, and the doubts about them."""

    metas: list[TableMeta]
    tables: dict[int, File]
    wals: dict[int, File]
    newest_wal: int
    durable_end: int
    sizes: dict[str, int]
    doubts: Doubts


def verify(engine: Engine, progress: Progress | None = None) -> Op[Verified]:
    """Check every file and return what was found.

    Damage does not end the check. Only reads, and takes no lock. Raises `StoreBusy` if there is no
    free file descriptor or the tables change too fast, `StoreClosed` if the store was closed
    meanwhile, `UnsupportedFormat` if a newer version wrote a part of it.
    """
    try:
        return (yield from _verify(engine, progress))
    except OSError as error:
        named = reading_error(error)
        if named is None:
            raise
        raise named from error


def _verify(engine: Engine, progress: Progress | None) -> Op[Verified]:
    with suppress(CorruptionError, StorePathError):  # met again, where it gets its place
        yield from catch_up(engine)
    pinned = None if engine.slot is None else (yield from _pin(engine))
    try:
        return (yield from _verify_scene(engine, progress))
    finally:
        if pinned is not None:
            engine.pins.give_back(pinned)
            engine.pins.settle()


def _pin(engine: Engine) -> Op[int | None]:
    """Pin the tables. None if the manifest is so damaged that no newer view can be made."""
    with suppress(CorruptionError, StorePathError):
        return (yield from pin_tables(engine))
    return None


def _verify_scene(engine: Engine, progress: Progress | None) -> Op[Verified]:
    scene, findings = yield from _hold(engine)
    wals, of_headers = yield from measure_wals(
        scene.wals, scene.sizes, scene.newest_wal, scene.durable_end, engine.store_id
    )
    findings.include(of_headers)
    total = findings.bytes + sum(part.end for part in wals) + sum(meta.file_bytes for meta in scene.metas)
    meter = Meter(total, progress)
    meter.add(findings.bytes)
    yield from _check(engine, scene, wals, findings, meter)
    meter.finish()
    yield PAUSE
    return findings.files, findings.bytes, findings.records, tuple(findings.problems)


def _check(engine: Engine, scene: _FilesToCheck, wals: list[WalPart], findings: Findings, meter: Meter) -> Op[None]:
    findings.include((yield from verify_wals(wals, meter)))
    for meta in scene.metas:
        name = file_name("table", meta.number)
        held = scene.tables.pop(meta.number, None)
        named: File | None = None
        # Open it by name, since the file that this process holds may not be the one that the next
        # process finds. If there is none, it was compacted away while a reader that cannot pin was
        # looking, or it is missing and reported as such.
        with suppress(FileNotFoundError), findings.collecting(name):
            named = yield Open(name)
        file = named or held
        if file is None and name in scene.sizes and engine.slot is not None:
            findings.add(MISSING, name)  # it was removed since the look, although it is pinned
        if file is not None:
            check = TableCheck(meta, file, engine.store_id, meter)
            findings.include((yield from check.run()))
        if named is not None:
            named.close()
        if held is not None:
            held.close()


def _hold(engine: Engine) -> Op[tuple[_FilesToCheck, Findings]]:
    """Find and hold the files of the store, looking twice if there are doubts.

    Returns the scene, and the findings of reading CURRENT and the manifest.
    """
    suspects: set[str] = set()
    for _ in range(ATTEMPTS_MAX):
        findings = Findings()
        scene = yield from _look(engine, findings)
        if scene is not None:
            if scene.doubts.keys() <= suspects:
                findings.problems += scene.doubts.values()
                return scene, findings
            suspects = set(scene.doubts)
        yield Nap(NAP_SECONDS)
    raise StoreBusy("the tables change faster than they can be opened")


def _look(engine: Engine, findings: Findings) -> Op[_FilesToCheck | None]:
    """Look once for the files of the store.

    None if others have gone on meanwhile, so that they do not fit together.
    """
    with suppress(CorruptionError, StorePathError):  # found again below, with its file and offset
        yield from catch_up(engine)
    with engine.lock:
        view = engine.view
        metas = [table.meta for table in view.version.tables()]
        first_wal = min(memtable.number for memtable in view.memtables)
        newest_wal, durable_end = engine.wal.position[:2]
    # Order: load COMMIT, then read the manifest, then list the directory, so that the list has all
    # that they need.
    commit = engine.words[control.COMMIT] if engine.page_is_kept else 0
    doubts: Doubts = {}
    manifest = yield from _read_manifest(engine, findings, doubts)
    if manifest is not None:
        manifest.file.close()
        metas = list(manifest.tables.metas.values())
        first_wal = manifest.tables.log_number
    if commit:
        number, durable_end = control.unpack_position(commit)
        newest_wal = control.whole_wal_number(number, first_wal)
    if not first_wal <= newest_wal < first_wal + (1 << 31):
        return None
    sizes: dict[str, int] = yield ListDirectory()
    tables: dict[int, File] = {}
    for meta in metas:
        name = file_name("table", meta.number)
        if name not in sizes:
            _doubt(doubts, MISSING, name)
        elif engine.slot is None:
            yield from _open(name, tables, meta.number, findings, doubts)
    wals: dict[int, File] = {}
    number = newest_wal
    while number >= first_wal:
        yield from _open(file_name("wal", number), wals, number, findings, doubts)
        # A number may be left out: a WAL that was never finished, because the process that made it
        # died.
        number = yield from predecessor_of(wals.get(number), engine.store_id, number)
    return _FilesToCheck(metas, tables, wals, newest_wal, durable_end, sizes, doubts)


def _doubt(doubts: Doubts, reason: str, path: str, offset: int | None = None) -> None:
    error = CorruptionError(reason, path=path, offset=offset)
    doubts[str(error)] = error


def _open(name: str, files: dict[int, File], number: int, findings: Findings, doubts: Doubts) -> Op[None]:
    try:
        with findings.collecting(name):
            files[number] = yield Open(name)
    except FileNotFoundError:
        _doubt(doubts, MISSING, name)


def _read_manifest(engine: Engine, findings: Findings, doubts: Doubts) -> Op[Manifest | None]:
    """Read and check CURRENT and the manifest. None if there is no readable manifest."""
    words = engine.words
    version, busy = words[control.VERSION], words[control.COMPACTOR]
    manifest = None
    try:
        current = yield from _read_current(engine, findings)
        if current is not None:
            name = file_name("manifest", current.manifest_number)
            findings.files += 1
            with findings.collecting(name):
                manifest = yield from read_manifest(current)
    except FileNotFoundError as error:
        _doubt(doubts, MISSING, str(error.filename))
    if manifest is None:
        return None
    findings.bytes += manifest.position.end
    _check_levels(manifest, findings)
    # If nobody has held the compact lock meanwhile, as COMPACTOR and VERSION show, the manifest
    # must end with a complete frame, the one that VERSION announced.
    if engine.page_is_kept and not busy and not words[control.COMPACTOR] and words[control.VERSION] == version:
        _check_end(engine, manifest, version, doubts)
    return manifest


def _read_current(engine: Engine, findings: Findings) -> Op[Current | None]:
    findings.files += 1
    with findings.collecting(CURRENT):
        current = yield from read_current()
        findings.bytes += CURRENT_BYTES
        if current.store_id != engine.store_id:
            raise CorruptionError("another store has taken the place of this one", offset=16)
        return current
    return None


def _check_end(engine: Engine, manifest: Manifest, version_word: int, doubts: Doubts) -> None:
    with engine.lock:
        seen, tables = engine.seen_version, engine.view.version.tables()
    if manifest.doubtful:
        _doubt(doubts, "manifest frame does not verify", manifest.file.name, manifest.position.end)
    elif seen == version_word and {table.number: table.meta for table in tables} != manifest.tables.metas:
        _doubt(doubts, "manifest lacks the latest changes", manifest.file.name, manifest.position.end)


def _check_levels(manifest: Manifest, findings: Findings) -> None:
    """Report tables that overlap, in levels from 1 on, where they must not."""
    for reason in overlaps(manifest.tables.metas.values()):
        findings.add(reason, manifest.file.name)
