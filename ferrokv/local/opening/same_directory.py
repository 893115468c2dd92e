"""Checking, about once a second, that the directory is still the one that was opened.

Somebody may remove, replace or overwrite the directory while it is open. Then the files by which
processes coordinate (lock files, the control page) are not the ones that this process has open, and
it must not go on. So the store gives up in this process, with `StoreReplaced`. It can be opened
again, which finds what is there now.
"""

from __future__ import annotations

from ...errors import CorruptionError
from ..engine.engine import Engine
from ..format.control import GENERATION
from ..format.logs import HEADER_BYTES, WAL_MAGIC, decode_header
from ..log.load import read_current
from ..storage.requests import Op, ReadAt

LOOK_SECONDS = 1.0


def check_directory(engine: Engine) -> Op[None]:
    """Give up the store if its directory was removed, or replaced by another or an older one.

    About 30 µs.
    """
    change = engine.storage.changed()
    if change is not None:
        engine.give_up(change)
        return
    if not engine.page_is_kept:
        return
    try:
        current = yield from read_current()
        with engine.lock:
            wal = engine.wal
        data: bytes = yield ReadAt(wal.file, 0, HEADER_BYTES)
    except FileNotFoundError:
        engine.give_up("its identity was removed")
        return
    except CorruptionError:
        return  # it may be being written at this moment; the next check will tell
    generation = engine.words[GENERATION]
    if engine.generation is None:
        engine.generation = generation
    if current.store_id != engine.store_id:
        engine.give_up("another store has taken its place")
    elif current.manifest_number < engine.manifest_floor:
        engine.give_up("an older copy was put over it")
    elif not engine.storage.read_only and generation != engine.generation:
        engine.give_up("its control page was overwritten")
    elif not _is_header_of(data, engine, wal.header.checksum, wal.header.number):
        engine.give_up("its WAL was overwritten")
    engine.manifest_floor = current.manifest_number


def _is_header_of(data: bytes, engine: Engine, checksum: int, number: int) -> bool:
    try:
        return decode_header(data, WAL_MAGIC, engine.store_id, number).checksum == checksum
    except CorruptionError:
        return False
