"""The write path: one frame, one sync, one visible step; and the rotation to a new WAL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ..format.commits import Entry, encode_commit
from ..format.control import COMMIT, INTENT, pack_position
from ..format.logs import (
    HEADER_BYTES,
    TYPE_COMMIT,
    WAL_MAGIC,
    Position,
    decode_header,
    encode_frame,
    encode_header,
    position_after,
)
from ..storage.requests import Op, Open, Remove, Storage, Sync, SyncDirectory, Words, WriteAt
from .engine import NO_SPACE, Engine, Wal
from .memtable import Memtable
from .names import file_name
from .view import Catalogue

FINISH_ATTEMPTS_MAX: Final = 100

Writes = Mapping[bytes, tuple[bytes | None, int]]
"""internal key -> (value or None to delete, expires_ms or 0)"""


def create_wal(
    storage: Storage, store_id: bytes, number: int, predecessor: Position, preallocate: int, words: Words | None
) -> Op[Wal]:
    """WAL `number`, durable with its name, that goes on from `predecessor`. Fails if the file exists."""
    file = yield Open(file_name("wal", number), create=True, preallocate=preallocate)
    salt = int.from_bytes(storage.random_bytes(8), "little")
    head = encode_header(WAL_MAGIC, store_id, number, salt, predecessor)
    yield WriteAt(file, 0, head)
    yield Sync(file, metadata=True)
    yield SyncDirectory()
    if words is not None:
        word = pack_position(number, HEADER_BYTES)
        words[INTENT] = word
        words[COMMIT] = word
    header = decode_header(head, WAL_MAGIC, store_id, number)
    return Wal(file, header, header.start())


def commit(engine: Engine, writes: Writes, catalogue: Catalogue) -> Op[None]:
    """Make `writes`, which lead to `catalogue`, durable, then visible, as one step. Only the writer calls this.

    `StoreFull` when the disk is full (the store stays usable), `StoreFailed` when a write or sync failed otherwise.
    """
    engine.check_usable()
    if engine.wal.doubtful:
        yield from rotate(engine)
    wal, words = engine.wal, engine.words
    frame = encode_frame(wal.header.checksum, wal.position, TYPE_COMMIT, len(writes), encode_commit(writes))
    after = position_after(wal.position, frame)
    word = pack_position(wal.position.number, after.end)
    # Durability: in doubt until proven; INTENT says the same to others. Whatever ends this call early (an error, a signal
    # handler that raises) leaves the tail in doubt, and the next commit starts a new WAL from the last proven position.
    wal.doubtful = True
    words[INTENT] = word
    try:
        yield WriteAt(wal.file, wal.position.end, frame)
    except OSError as error:
        raise engine.write_error("writing the WAL", error) from error
    try:
        yield Sync(wal.file)
    except OSError as error:
        # Never retried: the kernel has marked the pages clean, and a second sync would report a success that is none.
        raise engine.poison("syncing the WAL", error) from error
    interrupted = _finish(engine, writes, catalogue, after)
    engine.counters.commits += 1
    engine.counters.records += len(writes)
    if interrupted is not None:
        raise interrupted


def _finish(engine: Engine, writes: Writes, catalogue: Catalogue, after: Position) -> BaseException | None:
    """Show what is durable. Every step may be repeated, and all are until none was interrupted by a signal handler.

    Returns what interrupted, to be raised by the caller once the store is consistent again.
    """
    interrupted: BaseException | None = None
    for _ in range(FINISH_ATTEMPTS_MAX):
        try:
            _apply(engine, writes, after)
            if catalogue is not engine.view.catalogue:
                engine.publish_catalogue(catalogue)
            engine.wal.position = after
            engine.words[COMMIT] = pack_position(after.number, after.end)
            engine.wal.doubtful = False
        except BaseException as error:  # noqa: BLE001 - raised again by the caller
            interrupted = error
        else:
            return interrupted
    raise engine.poison("showing a commit", OSError(0, repr(interrupted)))


def _apply(engine: Engine, writes: Writes, after: Position) -> None:
    seqno = after.seqno
    entries: dict[bytes, Entry] = {key: (write[0], write[1], seqno, None) for key, write in writes.items()}
    active = engine.view.active
    active.apply(entries, seqno)
    active.wal_bytes = after.end


def rotation_due(engine: Engine) -> bool:
    """True if the active WAL has reached its size."""
    return engine.wal.position.end >= engine.options.memtable_bytes


def rotate(engine: Engine) -> Op[None]:
    """Go on in a new WAL and seal the memtable of the old one, which is wholly synced. Only the writer calls this.

    A WAL whose last write failed is left as it is: the new one's header records where its valid part ends.
    """
    engine.check_usable()
    old = engine.wal
    number = old.position.number + 1
    try:
        wal = yield from create_wal(
            engine.storage, engine.store_id, number, old.position, engine.options.memtable_bytes, engine.words
        )
    except OSError as error:
        if error.errno in NO_SPACE:
            yield from _remove_unfinished(engine, number)
        raise engine.write_error("making a new WAL", error) from error
    engine.wal = wal
    engine.publish_rotation(Memtable(number, wal.position.seqno))
    engine.counters.rotations += 1


def _remove_unfinished(engine: Engine, number: int) -> Op[None]:
    """Take back a WAL that could not be made for lack of space; its number is used again, since nothing was in it."""
    try:
        yield Remove(file_name("wal", number))
        yield SyncDirectory()
    except FileNotFoundError:
        return
    except OSError as error:
        raise engine.poison("removing an unfinished WAL", error) from error
