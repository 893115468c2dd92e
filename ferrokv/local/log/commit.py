"""The write path: append one frame, have it synced, show it; and the rotation to a new WAL.

Appending happens under the write lock, syncing under the sync lock. So while one process syncs, others append, and the next sync
covers all that was appended before it began: a group commit across processes (docs/decisions/0008-group-commit.md). Transactions
see what is appended, since the chain of frames makes it certain that theirs stands only if it does; readers see what is durable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Final

from ...errors import StoreBusy, StoreUncertain
from ..engine.engine import NO_DESCRIPTORS, NO_SPACE, Engine, Pending, Wal
from ..engine.space import deletes, is_plenty, is_tight, store_full
from ..engine.spares import SPARE_WALS, create_file, sizes_for, wal_sizes
from ..engine.wakeups import wake_waiting
from ..format.commits import Entry, encode_commit
from ..format.control import (
    APPENDED,
    COMMIT,
    INTENT,
    POISON,
    SHORT,
    SYNCER,
    is_reached,
    pack_position,
    unpack_position,
    wal_word,
)
from ..format.logs import (
    HEADER_BYTES,
    TYPE_COMMIT,
    WAL_MAGIC,
    Position,
    decode_header,
    encode_frame,
    encode_header,
    frame_bytes,
    position_after,
)
from ..names import file_name
from ..storage.drivers import complete
from ..storage.requests import Allocate, Lock, Op, Remove, Role, Storage, Sync, SyncDirectory, Words, WriteAt
from ..tree.view import Catalogue

FINISH_ATTEMPTS_MAX: Final = 100
UNSYNCED_COMMITS_MAX: Final = 64  # of all processes, since each transaction looks through them
UNSYNCED_BYTES_MAX: Final = 1 << 20
AT_ONCE: Final[dict[Role, Lock]] = {role: Lock(role, 0) for role in ("write", "sync", "compact")}

Writes = Mapping[bytes, tuple[bytes | None, int]]
"""internal key -> (value or None to delete, expires_ms or 0)"""
Tail = tuple[Wal, Position]
"""A WAL, and a place in it where a frame ends."""


def create_wal(
    storage: Storage,
    store_id: bytes,
    number: int,
    predecessor: Position,
    sizes: Iterable[int],
    spares: Iterable[str] = (),
) -> Op[Wal]:
    """WAL `number`, durable with its name, that goes on from `predecessor`. Fails if the file exists.

    Its space is as `create_file` says. No file is left if there was none.
    """
    file, allocated = yield from create_file(file_name("wal", number), sizes, spares)
    salt = int.from_bytes(storage.random_bytes(8), "little")
    head = encode_header(WAL_MAGIC, store_id, number, salt, predecessor)
    yield WriteAt(file, 0, head)
    yield Sync(file, metadata=True)
    yield SyncDirectory()
    header = decode_header(head, WAL_MAGIC, store_id, number)
    return Wal(file, header, header.start(), allocated)


def take_lock(engine: Engine, role: Role, timeout: float, until: Callable[[], bool] | None = None) -> bool:
    """Whether the lock was free in time. A lock that can not be told from a free one poisons the store. Blocks."""
    perform = engine.storage.perform
    try:
        # Nearly always it is free at once; only a wait needs a request of its own.
        return bool(perform(AT_ONCE[role]) or (timeout > 0 and perform(Lock(role, timeout, until))))
    except OSError as error:
        raise engine.poison(f"taking the {role} lock", error) from error


def append(engine: Engine, writes: Writes, catalogue: Catalogue, *, sync_follows: bool = True) -> Tail:
    """Put `writes`, which lead to `catalogue`, into the WAL as one frame, and say in which and where it ends. Blocks.

    Under the write lock, after `begin_writing`. Neither durable nor visible before `make_durable`. `StoreFull` when the disk is
    full (the store stays usable), `StoreFailed` when the write failed otherwise.
    """
    words = engine.words
    payload = encode_commit(writes)
    # What is raised here must not keep the WAL's file by its frames: a full disk would miss it.
    if engine.appended.end + frame_bytes(payload) > engine.wal.allocated or words[SHORT]:
        _make_room(engine, writes, frame_bytes(payload))
    with engine.lock:
        wal, position = engine.wal, engine.appended
    # What counts as durable here must be: a reader after a crash takes it for a proof (docs/format.md section 3).
    number, durable_end = unpack_position(words[COMMIT])
    assert number == wal_word(position.number)
    frame = encode_frame(wal.header.checksum, position, TYPE_COMMIT, len(writes), payload, durable_end)
    after = position_after(position, frame)
    # Durability: in doubt until whole, for every process. Whatever ends this call early (an error, a signal handler that
    # raises, death) leaves INTENT ahead of APPENDED, and the next writer starts a new WAL from there.
    word = pack_position(after.number, after.end)
    words[INTENT] = word
    try:
        engine.storage.perform(WriteAt(wal.file, position.end, frame, sync_follows))
    except OSError as error:
        raise engine.write_error("writing the WAL", error) from error
    seqno = after.seqno
    entries: dict[bytes, Entry] = {key: (write[0], write[1], seqno, None) for key, write in writes.items()}
    words[APPENDED] = word
    # An interruption before this line is mended by `read_appended`, which finds the frame in the file.
    with engine.lock:
        engine.add_pending(Pending(entries, after, catalogue))
    engine.counters.commits += 1
    engine.counters.records += len(writes)
    return wal, after


def _make_room(engine: Engine, writes: Writes, size: int) -> None:
    """Return when the next frame, of `size` bytes, has its place on the disk, so that nothing is in doubt if it finds none.

    `StoreFull` when there is none. A frame that deletes may have that of the reserve. Blocks.
    """
    deleting = deletes(writes, engine.view.catalogue)
    if engine.words[SHORT]:
        if not deleting and not is_plenty(engine):
            raise store_full(engine, "writing")
        engine.ran_short()  # there may be something to give back, or to build
    if _allocate(engine, size):
        return
    engine.run_short()
    if not deleting:
        raise store_full(engine, "writing")
    most = sizes_for(engine.options.memtable_bytes, engine.storage.space()).wal - HEADER_BYTES
    if size > most:
        raise store_full(engine, f"deleting so much at once (bytes={size}, the reserve takes {most})")
    rotate(engine, spare_first=True)
    if not _allocate(engine, size):
        raise store_full(engine, "deleting")


def _allocate(engine: Engine, size: int) -> bool:
    """Reserve the place of a frame at the WAL's end, and more while there is plenty; False if the disk is full."""
    with engine.lock:
        wal, end = engine.wal, engine.appended.end + size
    full = engine.options.memtable_bytes
    wishes = (end,) if engine.words[SHORT] else (full, end + full // 16, end)
    for wanted in wishes:
        if end <= wal.allocated:
            break
        try:
            engine.storage.perform(Allocate(wal.file, max(wanted, end)))
        except OSError as error:
            if error.errno not in NO_SPACE:
                raise engine.write_error("reserving space in the WAL", error) from error
        else:
            wal.allocated = max(wanted, end)
    return end <= wal.allocated


def may_stay_unsynced(engine: Engine) -> bool:
    """True while little is appended that no sync has covered, by whichever process."""
    with engine.lock:
        durable, appended, commits = engine.wal.position, engine.appended, len(engine.pending)
    near = durable.number == appended.number and appended.end - durable.end < UNSYNCED_BYTES_MAX
    return near and commits < UNSYNCED_COMMITS_MAX


def make_durable(engine: Engine, wal: Wal, appended: Position) -> None:
    """Return when `wal` is durable up to `appended`, by this process's sync or another's. Needs no lock. Blocks.

    `StoreUncertain` when another process did not finish its sync in time, `StoreFailed` when a sync failed, anywhere.
    """
    words = engine.words
    target = pack_position(appended.number, appended.end)
    if words[COMMIT] == target:
        return
    over = partial(_is_over, words, target)
    while True:
        timeout = engine.options.busy_timeout
        try:
            if take_lock(engine, "sync", timeout, over):
                _sync(engine, wal, target)
            elif not over():
                raise StoreUncertain(
                    "another process did not finish its sync, so whether this write stands is not known yet: "
                    f"holder_pid={words[SYNCER]} busy_timeout={timeout:.3g}"
                )
        finally:
            engine.unlock_sync()
        if over():
            break
    if not is_reached(words[COMMIT], target):
        engine.check_usable()


def _is_over(words: Words, target: int) -> bool:
    """True if there is nothing to wait for: the target is durable, or never will be."""
    commit = words[COMMIT]
    return commit == target or is_reached(commit, target) or words[POISON] != 0


def show_durable(engine: Engine) -> None:
    """Show those of this process's commits that are durable. May be repeated, and left to the next reader."""
    with engine.lock:
        engine.show_pending(engine.words[COMMIT])


def _sync(engine: Engine, wal: Wal, target: int) -> None:
    """Make everything durable that is appended by now. Under the sync lock, which keeps `wal` the newest."""
    words = engine.words
    if _is_over(words, target):
        return
    words[SYNCER] = engine.process_id
    appended = words[APPENDED]
    try:
        engine.storage.perform(Sync(wal.file))
    except OSError as error:
        # Never retried: the kernel has marked the pages clean, and a second sync would report a success that is none.
        raise engine.poison("syncing the WAL", error) from error
    words[COMMIT] = appended
    wake_waiting(engine)


def _uninterrupted(engine: Engine, show: Callable[[], None]) -> BaseException | None:
    """Show what is durable, again and again until no signal handler interrupts it.

    Returns what interrupted, to be raised by the caller once the store is consistent again.
    """
    interrupted: BaseException | None = None
    for _ in range(FINISH_ATTEMPTS_MAX):
        try:
            show()
        except BaseException as error:  # noqa: BLE001 - raised again by the caller
            interrupted = error
        else:
            return interrupted
    raise engine.poison("showing a rotation", OSError(0, repr(interrupted)))


def rotation_due(engine: Engine) -> bool:
    """True if the active WAL has reached its size."""
    return engine.wal.position.end >= engine.options.memtable_bytes


def rotate(engine: Engine, *, spare_first: bool = False) -> None:
    """Go on in a new WAL and seal the memtable of the old one. Under the write lock, after `read_appended`. Blocks.

    A full disk gives it what there is, in the end a spare WAL, or that at once with `spare_first`. `StoreFull` without one.

    A WAL whose tail is uncertain is left as it is: the new one's header records where its valid part ends, all of which is synced.
    """
    try:
        if not take_lock(engine, "sync", engine.options.busy_timeout):
            raise StoreBusy(f"another process did not finish its sync: holder_pid={engine.words[SYNCER]}")
        _rotate(engine, spare_first=spare_first)
    finally:
        engine.unlock_sync()


def _rotate(engine: Engine, *, spare_first: bool) -> None:
    words = engine.words
    with engine.lock:
        position = engine.appended
    _sync(engine, engine.wal, pack_position(position.number, position.end))
    engine.check_usable()  # or another process's sync failed meanwhile
    show_durable(engine)
    assert engine.wal.position == position
    number = position.number + 1
    in_doubt = words[INTENT] != words[APPENDED]
    # Order: in doubt from here, so that a new WAL that this process leaves behind when it dies is not passed over: its header
    # says that the old one ends here, and nothing may be written there any more.
    words[INTENT] = pack_position(number, HEADER_BYTES)
    try:
        wal = complete(_create_anew(engine, number, position, spare_first=spare_first), engine.storage)
    except OSError as error:
        if error.errno in NO_SPACE or error.errno in NO_DESCRIPTORS:
            complete(_remove_unfinished(engine, number), engine.storage)
            if not in_doubt:
                words[INTENT] = words[APPENDED]
        if error.errno in NO_SPACE:
            engine.run_short()
            raise store_full(engine, "making a new WAL") from error
        raise engine.write_error("making a new WAL", error) from error
    interrupted = _uninterrupted(engine, lambda: _show_rotation(engine, wal))
    if not wal.allocated or is_tight(engine):
        engine.run_short()
    engine.counters.rotations += 1
    engine.rotated()
    if interrupted is not None:
        raise interrupted


def _show_rotation(engine: Engine, wal: Wal) -> None:
    # Order: COMMIT before this process's view. If a reader here could see more than COMMIT says, it would know of what readers of
    # other processes do not see yet. And before APPENDED: a death in between leaves INTENT ahead, and the next writer rotates.
    word = pack_position(wal.position.number, HEADER_BYTES)
    with engine.lock:
        engine.words[COMMIT] = word
        engine.show_rotation(wal)
    engine.words[APPENDED] = word


def _create_anew(engine: Engine, number: int, predecessor: Position, *, spare_first: bool) -> Op[Wal]:
    """Create a WAL, in the place of one that somebody left behind before COMMIT named it: nothing was ever in that."""
    # Order: looked at first, for in an exchanged directory it may be somebody's data that is removed here, or their reserve.
    change = engine.storage.changed()
    if change is not None:
        raise engine.give_up(change)
    storage, store_id = engine.storage, engine.store_id
    sizes = wal_sizes(engine.options.memtable_bytes, HEADER_BYTES, short=engine.words[SHORT] != 0)
    for attempt in ((), sizes) if spare_first else (sizes,):
        try:
            return (yield from create_wal(storage, store_id, number, predecessor, attempt, SPARE_WALS))
        except FileExistsError:
            yield Remove(file_name("wal", number))
            yield SyncDirectory()
        except OSError as error:
            if error.errno not in NO_SPACE or attempt:
                raise
    return (yield from create_wal(storage, store_id, number, predecessor, sizes, SPARE_WALS))


def _remove_unfinished(engine: Engine, number: int) -> Op[None]:
    """Take back a WAL that could not be made for lack of space; its number is used again, since nothing was in it."""
    try:
        yield Remove(file_name("wal", number))
        yield SyncDirectory()
    except FileNotFoundError:
        return
    except OSError as error:
        raise engine.poison("removing an unfinished WAL", error) from error
