"""A full disk: what may be written, and how the reserve is restored (docs/format.md section 2).

To free space on a full disk, the store must be able to write: tombstones to the WAL, a flushed
table, a manifest. The reserve (spares.py) keeps room for these.

The word SHORT is 1 while space is short. It is set when a write finds no space, and when a piece of
the reserve is used. While it is set, processes write only frames that delete. Other frames are
written only if there is room for the whole reserve and more (`is_plenty`). `rebuild` makes the
missing pieces, and clears SHORT once the reserve is complete and there is some room beside it. It
is called at opening, and by the background thread while it holds the compact lock. See
docs/decisions/0021-a-full-disk.md.
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

KEPT_BYTES_EACH_MAX = 64  # a deletion may write so much beside each tombstone, such as a root or a token


def deletes(writes: Mapping[bytes, tuple[bytes | None, int]], catalogue: Catalogue) -> bool:
    """Return True if a frame frees more space than it takes.

    Tombstones, cleared keyspaces and quotas free space; little else may be in the frame.
    """
    given = taken = 0
    for key, (value, _) in writes.items():
        if value is None or key.startswith(CATALOGUE_QUOTAS) or _clears(key, catalogue):
            given += 1
        else:
            taken += len(value)
    return taken <= given * KEPT_BYTES_EACH_MAX if given else False


def _clears(key: bytes, catalogue: Catalogue) -> bool:
    """Return True if a record of the catalogue clears a keyspace, by giving it another id."""
    return key.startswith(CATALOGUE_NAMES) and key[len(CATALOGUE_NAMES) :].decode() in catalogue.prefixes


def is_plenty(engine: Engine) -> bool:
    """Return True if there is so much room that writes need not wait for the reserve.

    That is, room for the whole reserve and a WAL.
    """
    space = engine.storage.space()
    sizes = sizes_for(engine.options.memtable_bytes, space)
    return space.free >= sum(sizes.by_name().values()) + sizes.wal


def is_tight(engine: Engine) -> bool:
    """Return True if there is no room to flush the sealed memtables without the reserve.

    Then they should be flushed while the reserve is complete, before anything more is written.
    """
    return engine.storage.space().free < sum(memtable.wal_bytes * 9 // 8 for memtable in engine.view.sealed)


def store_full(engine: Engine, what: str) -> StoreFull:
    """Return the error for a write that the disk has no room for."""
    sizes = sizes_for(engine.options.memtable_bytes, engine.storage.space())
    return StoreFull(
        f"{what} found no space: free_bytes={engine.storage.space().free} reserve_bytes={sum(sizes.by_name().values())}; "
        "reading, deleting, clearing and setting quotas still work; free space with these, or outside of the store"
    )


def rebuild(engine: Engine) -> Op[bool]:
    """Make the missing pieces of the reserve. Return True if the store may take all writes.

    Only for the holder of the compact lock, or for a process that holds the open lock and is alone.
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
    """Make the missing small pieces. If there is no other room, cut the spare table to get it.

    Without a spare WAL nothing can be deleted, and what was deleted cannot be flushed. The spare
    table stays large enough for a flush of any one memtable.
    """
    view = engine.view
    largest = max(memtable.wal_bytes for memtable in view.memtables)
    least = max(largest * 17 // 16, 2 * wanted[SPARE_WALS[0]]) + PIECE_BYTES_MIN
    left = names.get(SPARE_TABLE, 0)
    for name in (*SPARE_WALS, SPARE_CURRENT, SPARE_MANIFEST):
        size = wanted[name] + PIECE_BYTES_MIN  # the new name may take space, too
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
    """Make pieces of these sizes, in order, until there is no room. Return True if all were made.

    Each is made under another name, synced and renamed. So a file with a piece's name is always
    complete, even after a power cut.
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
    """Let the spare table take most of the free space, before others take it.

    It never takes all of it, because new names need some space, too.
    """
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
    # Order: a process that uses a piece renames it first and stores SHORT afterwards. So either its
    # piece is found missing below, or its store comes after this one.
    engine.words[SHORT] = 0
    names: dict[str, int] = yield ListDirectory()
    if any(names.get(name, 0) < size for name, size in wanted.items()):
        engine.words[SHORT] = 1
