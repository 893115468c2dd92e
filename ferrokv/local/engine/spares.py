"""The reserve: files made in good time, each to be renamed into what a full disk has no room for (docs/format.md section 2).

Space that a file gives back can be taken by anybody; a renamed file never gives it back. This module knows the names, the sizes,
and how a file is made with or without a spare one; `space.py` knows when.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from typing import Final, NamedTuple

from ..format.current import CURRENT_BYTES
from ..storage.directory import SPARE_TABLE as SPARE_TABLE
from ..storage.requests import File, ListDirectory, Op, Open, Remove, Rename, Space, Sync, Truncate

NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

# Two: one takes the frames that delete, and with the other one that is ended, so that what it holds can be flushed.
SPARE_WALS: Final = ("reserve-1.wal", "reserve-2.wal")
SPARE_MANIFEST: Final = "reserve.manifest"
SPARE_CURRENT: Final = "reserve.current"
ASIDE: Final = ".new"

MANIFEST_ROOM: Final = 16 << 10  # some hundred edits
PIECE_BYTES_MIN: Final = 4096


ALL_SPARES: Final = (SPARE_CURRENT, SPARE_MANIFEST, *SPARE_WALS, SPARE_TABLE)


class Sizes(NamedTuple):
    """Bytes of the pieces of a reserve."""

    wal: int
    table: int
    current: int = CURRENT_BYTES
    manifest: int = MANIFEST_ROOM

    def by_name(self) -> dict[str, int]:
        """All pieces, in the order in which they are made: the small ones first, and the one for tables last."""
        small = {SPARE_CURRENT: self.current, SPARE_MANIFEST: self.manifest}
        return {**small, **dict.fromkeys(SPARE_WALS, self.wal), SPARE_TABLE: self.table}


def wal_sizes(memtable_bytes: int, least: int, *, short: bool) -> tuple[int, ...]:
    """How much to reserve for a new WAL, from most to `least`. What is `short` leaves the room to the reserve."""
    small = (memtable_bytes // 8, least)
    return tuple(size for size in (small if short else (memtable_bytes, *small)) if size >= least)


def sizes_for(memtable_bytes: int, space: Space) -> Sizes:
    """What a store needs to go on deleting: WALs for the tombstones, and a table as large as a flush of one memtable makes.

    The table has a WAL's room more than that: when a spare WAL is in use, there is so much less for what replaces it.
    Of a small disk it takes a quarter for the table, and a thirty-second for each WAL.
    """
    wal = min(memtable_bytes // 8, space.total // 32)
    table = min(memtable_bytes + memtable_bytes // 4, space.total // 4)
    return Sizes(max(wal, PIECE_BYTES_MIN), max(table, PIECE_BYTES_MIN))


def create_file(name: str, sizes: Iterable[int], spares: Iterable[str] = ()) -> Op[tuple[File, int]]:
    """A new file, with as many bytes reserved for it as there is room for: the first of `sizes`, else one of the `spares`.

    With the file comes its size, 0 for a spare. The OSError of a full disk when nothing is to be had, and no file is left then.
    The caller syncs the directory.
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
    # A new error: the one that was met would be kept by its own frames, and with them the files that they know.
    raise OSError(code, reason, name)


def cut_to_length(file: File, size: int) -> Op[None]:
    """Cut a table that was written into the reserve's, and make a new piece of the rest at once, before anybody else has it.

    The caller syncs the directory.
    """
    names: dict[str, int] = yield ListDirectory()
    rest = names.get(file.name, 0) - -(-size // PIECE_BYTES_MIN) * PIECE_BYTES_MIN
    aside = SPARE_TABLE + ASIDE
    if aside in names:
        yield from _remove(aside)
    yield Truncate(file, size)
    for wanted in (rest, rest // 16 * 15):  # the name may need some, too
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
    """A file that could not be given its space is there all the same."""
    try:
        yield Remove(name)
    except FileNotFoundError:
        return
