"""The write path: append a frame to the WAL, make it durable, show it; and rotate to a new WAL.

Three words of the control page describe the tail of the WAL (docs/format.md section 7). A frame is
appended under the write lock: INTENT is set to where it will end, the frame is written, and
APPENDED is set to the same place. If INTENT and APPENDED differ, somebody died or failed in
between, and the next writer rotates to a new WAL instead of writing behind an uncertain tail. The
WAL is synced under the sync lock: APPENDED is loaded, the file synced, and the loaded value stored
as COMMIT.

The two locks are separate, so others append while one process syncs, and the next sync covers all
that was appended before it began: a group commit across processes
(docs/decisions/0008-group-commit.md). A writer waits until COMMIT has reached its frame, whoever
synced it. If a sync fails, POISON is set, and no process writes any more.

Readers see what is durable. Transactions also see what is appended. That is safe, because each
frame holds the checksum of the one before: the frame of a transaction counts only if all frames
before it do.
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
UNSYNCED_COMMITS_MAX: Final = 64  # of all processes; limited because each transaction looks through them
UNSYNCED_BYTES_MAX: Final = 1 << 20
AT_ONCE: Final[dict[Role, Lock]] = {role: Lock(role, 0) for role in ("write", "sync", "compact")}

Writes = Mapping[bytes, tuple[bytes | None, int]]
"""internal key -> (value, or None to delete; expires_ms or 0)"""
LogEnd = tuple[Wal, Position]
"""A WAL, and the position in it where a frame ends."""


def create_wal(
    storage: Storage,
    store_id: bytes,
    number: int,
    predecessor: Position,
    sizes: Iterable[int],
    spares: Iterable[str] = (),
) -> Op[Wal]:
    """Create WAL `number`, which continues `predecessor`, and make it and its name durable.

    `sizes` and `spares` are as in `create_file`. Raises `FileExistsError` if the file exists. If
    there is no space for it, no file is left.
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
    """Take a role's lock.

    Return False if it was not free in time, or as soon as `until` returns True. Blocks. An error
    while taking it poisons the store, since it is then unknown who has the lock.
    """
    perform = engine.storage.perform
    try:
        # Nearly always the lock is free at once. Only if not is a request with a timeout made.
        return bool(perform(AT_ONCE[role]) or (timeout > 0 and perform(Lock(role, timeout, until))))
    except OSError as error:
        raise engine.poison(f"taking the {role} lock", error) from error


def append(engine: Engine, writes: Writes, catalogue: Catalogue, *, sync_follows: bool = True) -> LogEnd:
    """Append `writes` to the WAL as one frame.

    Return the WAL and the position after the frame. Blocks. `catalogue` is the catalogue that
    results from the writes. Only under the write lock, after `begin_writing`. The commit is neither
    durable nor visible before `make_durable`. Raises `StoreFull` if the disk is full; the store
    stays usable then. Raises `StoreFailed` if the write failed in another way.
    """
    words = engine.words
    payload = encode_commit(writes)
    # Before any local variable refers to the WAL: an error's traceback would keep its file open,
    # and a full disk needs the space of that file once it is removed.
    if engine.appended.end + frame_bytes(payload) > engine.wal.allocated or words[SHORT]:
        _make_room(engine, writes, frame_bytes(payload))
    with engine.lock:
        wal, position = engine.wal, engine.appended
    # Invariant: `durable_end` is durable. Recovery after a crash takes it as proof (docs/format.md
    # section 3).
    number, durable_end = unpack_position(words[COMMIT])
    assert number == wal_word(position.number)
    frame = encode_frame(wal.header.checksum, position, TYPE_COMMIT, len(writes), payload, durable_end)
    after = position_after(position, frame)
    # Durability: the tail is in doubt, for every process, until the frame is complete. Whatever
    # ends this call early (an error, a signal handler that raises, death) leaves INTENT ahead of
    # APPENDED, and the next writer starts a new WAL.
    word = pack_position(after.number, after.end)
    words[INTENT] = word
    try:
        engine.storage.perform(WriteAt(wal.file, position.end, frame, sync_follows))
    except OSError as error:
        raise engine.write_error("writing the WAL", error) from error
    seqno = after.seqno
    entries: dict[bytes, Entry] = {key: (write[0], write[1], seqno, None) for key, write in writes.items()}
    words[APPENDED] = word
    # If an exception interrupts this before the commit is pending, `read_appended` finds the frame
    # in the file.
    with engine.lock:
        engine.add_pending(Pending(entries, after, catalogue))
    engine.counters.commits += 1
    engine.counters.records += len(writes)
    return wal, after


def _make_room(engine: Engine, writes: Writes, size: int) -> None:
    """Reserve disk space for the next frame, of `size` bytes, before its first byte is written.

    Blocks. Raises `StoreFull` if there is no space; then nothing is in doubt. A frame that deletes
    may use the reserve.
    """
    deleting = deletes(writes, engine.view.catalogue)
    if engine.words[SHORT]:
        if not deleting and not is_plenty(engine):
            raise store_full(engine, "writing")
        engine.ran_short()  # let the background thread look for space to free, or rebuild the reserve
    if _allocate(engine, size):
        return
    engine.run_short()
    if not deleting:
        raise store_full(engine, "writing")
    most = sizes_for(engine.options.memtable_bytes, engine.storage.space()).wal - HEADER_BYTES
    if size > most:
        raise store_full(engine, f"deleting so much at once (bytes={size}, the reserve has room for {most})")
    rotate(engine, spare_first=True)
    if not _allocate(engine, size):
        raise store_full(engine, "deleting")


def _allocate(engine: Engine, size: int) -> bool:
    """Reserve disk space for a frame at the end of the WAL, and more if there is plenty.

    False if the disk is full.
    """
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
    """Return True while the unsynced commits of all processes are few and small."""
    with engine.lock:
        durable, appended, commits = engine.wal.position, engine.appended, len(engine.pending)
    near = durable.number == appended.number and appended.end - durable.end < UNSYNCED_BYTES_MAX
    return near and commits < UNSYNCED_COMMITS_MAX


def make_durable(engine: Engine, wal: Wal, appended: Position) -> None:
    """Return when `wal` is durable up to `appended`, by a sync of this process or another one.

    Blocks. The caller needs no lock. Raises `StoreUncertain` if another process did not finish its
    sync in time, `StoreFailed` if a sync failed in any process.
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
                    "another process did not finish its sync, so it is not known yet whether this write is durable: "
                    f"holder_pid={words[SYNCER]} busy_timeout={timeout:.3g}"
                )
        finally:
            engine.unlock_sync()
        if over():
            break
    if not is_reached(words[COMMIT], target):
        engine.check_usable()


def _is_over(words: Words, target: int) -> bool:
    """Return True if there is nothing to wait for: `target` is durable, or a sync has failed."""
    commit = words[COMMIT]
    return commit == target or is_reached(commit, target) or words[POISON] != 0


def show_durable(engine: Engine) -> None:
    """Show the pending commits that are durable.

    May be repeated; if it is left out, the next reader does it.
    """
    with engine.lock:
        engine.show_pending(engine.words[COMMIT])


def _sync(engine: Engine, wal: Wal, target: int) -> None:
    """Make durable all that is appended by now.

    Under the sync lock, so that nobody rotates `wal` meanwhile.
    """
    words = engine.words
    if _is_over(words, target):
        return
    words[SYNCER] = engine.process_id
    appended = words[APPENDED]
    try:
        engine.storage.perform(Sync(wal.file))
    except OSError as error:
        # Never retry: the kernel has marked the pages clean, so a second sync would wrongly report
        # success.
        raise engine.poison("syncing the WAL", error) from error
    words[COMMIT] = appended
    wake_waiting(engine)


def _uninterrupted(engine: Engine, show: Callable[[], None]) -> BaseException | None:
    """Call `show` until no signal handler interrupts it.

    Returns the interrupting exception, if any. The caller raises it once the store is consistent
    again.
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
    """Return True if the WAL has reached the size at which it is rotated."""
    return engine.wal.position.end >= engine.options.memtable_bytes


def rotate(engine: Engine, *, spare_first: bool = False) -> None:
    """Start a new WAL and seal the memtable of the old one.

    Under the write lock, after `read_appended`. Blocks. On a full disk, the new WAL gets less
    preallocated space, and in the end a spare WAL of the reserve; with `spare_first`, it gets a
    spare WAL at once if there is one. Raises `StoreFull` if there is no space at all.

    An uncertain tail of the old WAL is left as it is. The header of the new WAL records where the
    valid part ends, and that part is synced first.
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
    engine.check_usable()  # `_sync` does nothing if another process's sync has failed
    show_durable(engine)
    assert engine.wal.position == position
    number = position.number + 1
    in_doubt = words[INTENT] != words[APPENDED]
    # Order: INTENT is ahead from here on. If this process dies and leaves a new WAL behind, that
    # WAL's header says that the old one ends here. So the next writer must not append to the old
    # one; it sees INTENT, and rotates.
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
    # Order: COMMIT before this process's view, so that readers here never see more than readers of
    # other processes can. And COMMIT before APPENDED: a death in between leaves INTENT ahead, and
    # the next writer rotates.
    word = pack_position(wal.position.number, HEADER_BYTES)
    with engine.lock:
        engine.words[COMMIT] = word
        engine.show_rotation(wal)
    engine.words[APPENDED] = word


def _create_anew(engine: Engine, number: int, predecessor: Position, *, spare_first: bool) -> Op[Wal]:
    """Create WAL `number`.

    A file of that name is removed first: it was left before COMMIT named it, and is empty.
    """
    # Order: check the directory first. If it was exchanged, the file may be somebody's data, and
    # the reserve theirs.
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
    """Remove a WAL that could not be created for lack of space.

    It was empty, so its number is used again.
    """
    try:
        yield Remove(file_name("wal", number))
        yield SyncDirectory()
    except FileNotFoundError:
        return
    except OSError as error:
        raise engine.poison("removing an unfinished WAL", error) from error
