"""A disk that is full: what is still written, and how the reserve comes back (docs/format.md section 2).

The SHORT word says that space is missing: somebody's write found none, or a piece of the reserve was used. Until the reserve is
whole again and there is some room beside it, only frames that delete are written, by every process.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ...errors import StoreFull
from ..format.control import SHORT
from ..format.keys import CATALOGUE_NAMES, CATALOGUE_QUOTAS
from ..storage.requests import Allocate, File, ListDirectory, Op, Open, Rename, Sync, SyncDirectory, Truncate
from ..tree.view import Catalogue
from .engine import Engine
from .removal import remove_files
from .spares import ASIDE, NO_SPACE, PIECE_BYTES_MIN, SPARE_CURRENT, SPARE_MANIFEST, SPARE_TABLE, SPARE_WALS, sizes_for

KEPT_BYTES_EACH_MAX = 64  # a root, a token, a count: what a deletion has to write beside its tombstones


def deletes(writes: Mapping[bytes, tuple[bytes | None, int]], catalogue: Catalogue) -> bool:
    """Whether a frame gives more back than it takes: tombstones, cleared keyspaces and quotas, and little beside them."""
    given = taken = 0
    for key, (value, _) in writes.items():
        if value is None or key.startswith(CATALOGUE_QUOTAS) or _clears(key, catalogue):
            given += 1
        else:
            taken += len(value)
    return taken <= given * KEPT_BYTES_EACH_MAX if given else False


def _clears(key: bytes, catalogue: Catalogue) -> bool:
    """True if the record gives a new id to a keyspace that has one."""
    return key.startswith(CATALOGUE_NAMES) and key[len(CATALOGUE_NAMES) :].decode() in catalogue.prefixes


def is_plenty(engine: Engine) -> bool:
    """True if there is room for the whole reserve and more, so that a write need not wait until it is made."""
    space = engine.storage.space()
    sizes = sizes_for(engine.options.memtable_bytes, space)
    return space.free >= sum(sizes.by_name().values()) + sizes.wal


def is_tight(engine: Engine) -> bool:
    """True if there is no room to flush what is sealed: before more is written, that is to be done, while the reserve is whole."""
    return engine.storage.space().free < sum(memtable.wal_bytes * 9 // 8 for memtable in engine.view.sealed)


def store_full(engine: Engine, what: str) -> StoreFull:
    """The error for a write that has no place on the disk."""
    sizes = sizes_for(engine.options.memtable_bytes, engine.storage.space())
    return StoreFull(
        f"{what} found no space: free_bytes={engine.storage.space().free} reserve_bytes={sum(sizes.by_name().values())}; "
        "reading, deleting, clearing and quotas go on and give space back, and so does what frees it outside of the store"
    )


def rebuild(engine: Engine) -> Op[bool]:
    """Make what is missing of the reserve; True when the store may take all writes.

    Only for the holder of the compact lock, or of the open lock who is alone.
    """
    names: dict[str, int] = yield ListDirectory()
    sizes = sizes_for(engine.options.memtable_bytes, engine.storage.space())
    wanted = sizes.by_name()
    wanted[SPARE_MANIFEST] += engine.compactor.manifest.position.end
    yield from _save_small_pieces(engine, wanted, names)
    names = yield ListDirectory()
    missing = {name: size for name, size in wanted.items() if names.get(name, 0) < size}
    if not (yield from _make(engine, missing, names)):
        engine.run_short()
        yield from _keep_what_there_is(engine, sizes.table)
        return False
    if engine.words[SHORT] and engine.storage.space().free >= sizes.wal:
        yield from _end_shortage(engine, wanted)
    return not engine.words[SHORT]


def _save_small_pieces(engine: Engine, wanted: Mapping[str, int], names: Mapping[str, int]) -> Op[None]:
    """Make the small pieces that are not there of what the spare table can do without, if there is no other room.

    Without a WAL nothing can be deleted, nor what was deleted be flushed. The table keeps what a flush of any memtable takes.
    """
    view = engine.view
    largest = max(memtable.wal_bytes for memtable in view.memtables)
    least = max(largest * 17 // 16, 2 * wanted[SPARE_WALS[0]]) + PIECE_BYTES_MIN
    left = names.get(SPARE_TABLE, 0)
    for name in (*SPARE_WALS, SPARE_CURRENT, SPARE_MANIFEST):
        size = wanted[name] + PIECE_BYTES_MIN  # the name may need some, too
        if name in names or engine.storage.space().free >= size:
            continue
        if left - size < least:
            return
        left -= size
        try:
            file = yield Open(SPARE_TABLE)
            yield Truncate(file, left)
            file.close()
        except OSError as error:
            raise engine.write_error("making the reserve", error) from error
        yield from _make(engine, {name: wanted[name]}, names)


def _make(engine: Engine, pieces: Mapping[str, int], names: Iterable[str]) -> Op[bool]:
    """Make pieces of these sizes, as many of the first as there is room for; True if that was all.

    They are made aside, so that what has a piece's name is whole, also after a power cut.
    """
    files: dict[str, File] = {}
    try:
        yield from remove_files(name + ASIDE for name in pieces if name + ASIDE in names)
        for name, size in pieces.items():
            try:
                files[name] = yield Open(name + ASIDE, create=True, preallocate=size)
            except OSError as error:
                if error.errno not in NO_SPACE:
                    raise
                yield from remove_files([name + ASIDE])
                break
        for file in files.values():
            yield Sync(file, metadata=True)
            file.close()
        for name in files:
            yield Rename(name + ASIDE, name)
        if files:
            yield SyncDirectory()
    except OSError as error:
        raise engine.write_error("making the reserve", error) from error
    return len(files) == len(pieces)


def _keep_what_there_is(engine: Engine, size: int) -> Op[None]:
    """Give the spare table as much as can be had, since what is free can be taken by others. Never all of it: names need some."""
    names: dict[str, int] = yield ListDirectory()
    found = names.get(SPARE_TABLE, 0)
    size = min(size, found + engine.storage.space().free // 16 * 15)
    if size - found < PIECE_BYTES_MIN:
        return
    if not found:
        yield from _make(engine, {SPARE_TABLE: size}, names)
        return
    try:
        file = yield Open(SPARE_TABLE)
        yield Allocate(file, size)
        yield Sync(file, metadata=True)
        file.close()
    except OSError as error:
        if error.errno not in NO_SPACE:
            raise engine.write_error("making the reserve", error) from error


def _end_shortage(engine: Engine, wanted: Mapping[str, int]) -> Op[None]:
    # Order: who takes a piece renames it and then stores the word. So either the piece is missed below, or the word comes later.
    engine.words[SHORT] = 0
    names: dict[str, int] = yield ListDirectory()
    if any(names.get(name, 0) < size for name, size in wanted.items()):
        engine.words[SHORT] = 1
