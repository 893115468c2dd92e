"""The reserve: files that become other files on a full disk (docs/format.md section 2).

A piece of the reserve is renamed into the file that has no room otherwise: a WAL, a table, a
manifest or CURRENT. Removing it and creating the other file would not do, because anybody could
take the space in between. The file keeps its space when it is renamed.

This module has the names and sizes of the pieces, and creates files with or without a piece.
`space.py` decides when the reserve is used and restored.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from typing import Final, NamedTuple

from ..format.current import CURRENT_BYTES
from ..storage.directory import SPARE_TABLE as SPARE_TABLE
from ..storage.requests import File, ListDirectory, Op, Open, Remove, Rename, Space, Sync, Truncate

NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

# Two of them. One takes the frames that delete. The other one is used to rotate away from it, so
# that the memtable of the first can be flushed.
SPARE_WALS: Final = ("reserve-1.wal", "reserve-2.wal")
SPARE_MANIFEST: Final = "reserve.manifest"
SPARE_CURRENT: Final = "reserve.current"
ASIDE: Final = ".new"

MANIFEST_ROOM: Final = 16 << 10  # room for about a hundred edits
PIECE_BYTES_MIN: Final = 4096


ALL_SPARES: Final = (SPARE_CURRENT, SPARE_MANIFEST, *SPARE_WALS, SPARE_TABLE)


class Sizes(NamedTuple):
    """The sizes of the pieces of a reserve."""

    wal: int
    table: int
    current: int = CURRENT_BYTES
    manifest: int = MANIFEST_ROOM

    def by_name(self) -> dict[str, int]:
        """Return name -> size of all pieces, in the order in which they are made.

        The table comes last.
        """
        small = {SPARE_CURRENT: self.current, SPARE_MANIFEST: self.manifest}
        return {**small, **dict.fromkeys(SPARE_WALS, self.wal), SPARE_TABLE: self.table}


def wal_sizes(memtable_bytes: int, least: int, *, short: bool) -> tuple[int, ...]:
    """Return the sizes to try to reserve for a new WAL, from the largest to `least`.

    If the disk is `short` of space, the largest is not tried, to leave room for the reserve.
    """
    small = (memtable_bytes // 8, least)
    return tuple(size for size in (small if short else (memtable_bytes, *small)) if size >= least)


def sizes_for(memtable_bytes: int, space: Space) -> Sizes:
    """Return what a store needs to go on deleting: WALs for tombstones, and a table for a flush.

    The table has room for the flush of one memtable, and for one WAL more, because a spare WAL that
    replaces one in use may have to be cut from it. On a small disk, the table takes at most a
    quarter of the disk, and each WAL at most a thirty-second.
    """
    wal = min(memtable_bytes // 8, space.total // 32)
    table = min(memtable_bytes + memtable_bytes // 4, space.total // 4)
    return Sizes(max(wal, PIECE_BYTES_MIN), max(table, PIECE_BYTES_MIN))


def create_file(name: str, sizes: Iterable[int], spares: Iterable[str] = ()) -> Op[tuple[File, int]]:
    """Create a file with the first of `sizes` that there is room for, or rename a spare one.

    Return the file and its size, which is 0 for a spare. If there is no room and no spare, raise
    the `OSError` of a full disk and leave no file. The caller syncs the directory.
    """
    code, reason = errno.ENOSPC, "no space, and no spare file"
    for size in sizes:
        try:
            return (yield Open(name, create=True, preallocate=size)), size
        except OSError as error:
            if error.errno not in NO_SPACE:
                raise
            code, reason = error.errno or code, error.strerror or reason
        yield from _remove(name)
    for spare in spares:
        try:
            yield Rename(spare, name)
        except FileNotFoundError:
            continue
        return (yield Open(name)), 0
    # Raise a new error: the traceback of the original one would keep frames alive, and with them
    # open files.
    raise OSError(code, reason, name)


def cut_to_length(file: File, size: int) -> Op[None]:
    """Cut a table that was written to the spare table, and make a new spare table of the rest.

    This is done at once, before anybody else takes the space. The caller syncs the directory.
    """
    names: dict[str, int] = yield ListDirectory()
    rest = names.get(file.name, 0) - -(-size // PIECE_BYTES_MIN) * PIECE_BYTES_MIN
    aside = SPARE_TABLE + ASIDE
    if aside in names:
        yield from _remove(aside)
    yield Truncate(file, size)
    for wanted in (rest, rest // 16 * 15):  # the new name may take space, too
        if wanted < PIECE_BYTES_MIN:
            return
        try:
            piece: File = yield Open(aside, create=True, preallocate=wanted)
        except OSError as error:
            yield from _remove(aside)
            if error.errno not in NO_SPACE:
                raise
            continue
        yield Sync(piece, metadata=True)
        piece.close()
        yield Rename(aside, SPARE_TABLE)
        return


def _remove(name: str) -> Op[None]:
    """Remove a file if it exists, as it may after an error of preallocation."""
    try:
        yield Remove(name)
    except FileNotFoundError:
        return
