"""Following other processes: the WAL up to COMMIT, and the manifest when VERSION has moved.

COMMIT says how far the WAL is durable, in which file and up to which offset. `catch_up` compares it
with `Engine.seen`, up to where this process has followed the WAL. If COMMIT has moved, `catch_up`
first shows the pending commits that it covers, which are in memory already. It reads the rest from
the file, verifies every frame, and shows the commits. If COMMIT names a later WAL, it finishes the
current one at the end that its successor's header records, and enters the successor. If the
successor's file is gone, its records were flushed in the meantime, and `rebuild` loads everything
again.

VERSION counts the durable edits of the manifest. `refresh` reads the manifest when VERSION differs
from that of the view's tables, and installs a view with the new tables, without the memtables that
they replace.

No lock is held across I/O. Bytes are read first. They are shown under the engine's lock, unless
another thread has shown them meanwhile. So any number of threads and tasks may catch up at the same
time, and cancelling one of them between two requests leaves nothing half done.
"""

from __future__ import annotations

from typing import Final

from ...errors import CorruptionError, StorePathError
from ..engine.engine import Engine, Pending, Wal, named
from ..format import control
from ..format.commits import Entry
from ..format.logs import HEADER_BYTES, WAL_MAGIC, Position, decode_header
from ..format.wal import next_commit
from ..names import file_name
from ..storage.requests import PAUSE, Nap, Op, Open, ReadAt, Storage, Words
from ..tree.table import damage_in
from ..tree.view import HotCache, View, catalogue_after, entry_bytes
from .load import ATTEMPTS_MAX, NAP_SECONDS, ReplayState, load, load_tables

CHUNK_BYTES: Final = 256 << 10
Commits = list[tuple[dict[bytes, Entry], Position]]


def catch_up(engine: Engine) -> Op[None]:
    """Return when the view has everything that was acknowledged before the call.

    In most cases there is nothing to read. If a signal handler calls this while its thread is
    showing a commit, it returns at once, and the handler reads the view as it is.
    """
    while engine.words[control.COMMIT] != engine.seen and not engine.is_mine():
        if not engine.page_is_kept:
            yield from _look_for_leader(engine)
            if not engine.page_is_kept:
                return
        with engine.lock:
            word = engine.words[control.COMMIT]
            behind = word != engine.seen
            if behind:
                engine.show_pending(word)
            wal, position = engine.wal, engine.wal.position
        if not behind or not word:
            return
        number, end = control.unpack_position(word)
        if number == control.wal_word(position.number) and end == position.end:
            return
        if not control.is_reached(word, control.pack_position(position.number, position.end)) and engine.seen >= 0:
            raise engine.give_up("COMMIT went back, as if an older copy had been put over it")
        try:
            if number != control.wal_word(position.number):
                yield from _enter_next(engine, wal, position)
            else:
                yield from _follow(engine, wal, position, end)
        except StorePathError:
            raise
        except OSError as error:
            raise named(error, "following other processes") from error


def read_appended(engine: Engine) -> Op[None]:
    """Read the commits that are appended to the WAL but not durable yet.

    Under the write lock, after `catch_up`.
    """
    number, end = control.unpack_position(engine.words[control.APPENDED])
    with engine.lock:
        wal, position = engine.wal, engine.appended
    if number != control.wal_word(position.number) or end <= position.end:
        return
    try:
        data: bytes = yield ReadAt(wal.file, position.end, end - position.end)
    except OSError as error:
        raise named(error, "following other processes") from error
    with damage_in(wal.file.name):
        commits = _decode(data, wal, position)
        if not commits or commits[-1][1].end != end:
            raise CorruptionError("appended WAL frame does not verify", offset=position.end)
    with engine.lock:
        _add_pending(engine, commits)


def _add_pending(engine: Engine, commits: Commits) -> None:
    """Add commits to the pending ones, except those that readers have shown meanwhile."""
    catalogue = engine.pending[-1].catalogue if engine.pending else engine.view.catalogue
    for entries, after in commits:
        catalogue = catalogue_after(catalogue, entries)
        engine.add_pending(Pending(entries, after, catalogue))


def _follow(engine: Engine, wal: Wal, position: Position, end: int) -> Op[None]:
    """Show the commits of one WAL up to `end`.

    Stop if another thread has shown some of them meanwhile.
    """
    size = CHUNK_BYTES
    while position.end < end:
        rest = end - position.end
        data: bytes = yield ReadAt(wal.file, position.end, min(size, rest))
        with damage_in(wal.file.name):
            commits = _decode(data, wal, position)
            if not commits:
                if size >= rest:
                    raise CorruptionError("acknowledged WAL frame does not verify", offset=position.end)
                size = rest  # the next frame is larger than a chunk
                continue
        if not _show(engine, wal, position, commits):
            return
        position = commits[-1][1]
        size = CHUNK_BYTES
        if position.end < end:
            yield PAUSE


def _decode(data: bytes, wal: Wal, position: Position) -> Commits:
    """Decode the commits that are complete in `data`, which begins at `position`."""
    base = position.end
    commits: Commits = []
    while (found := next_commit(data, wal.header, position, base)) is not None:
        commits.append(found)
        position = found[1]
    return commits


def _show(engine: Engine, wal: Wal, position: Position, commits: Commits) -> bool:
    """Show commits that were read from `position` on.

    False if another thread has moved on from there.
    """
    with engine.lock:
        return _show_locked(engine, wal, position, commits)


def _show_locked(engine: Engine, wal: Wal, position: Position, commits: Commits) -> bool:
    if engine.wal is not wal or wal.position != position:
        return False
    merged = commits[0][0]
    for entries, _ in commits[1:]:
        merged.update(entries)  # they are shown together, so nobody can see a state in between
    engine.show_commit(merged, commits[-1][1], catalogue_after(engine.view.catalogue, merged))
    return True


def _enter_next(engine: Engine, wal: Wal, position: Position) -> Op[None]:
    """Finish the current WAL and go on with its successor.

    If that is gone already, load everything again.
    """
    try:
        yield from _enter(engine, wal, position, position.number + 1)
    except (FileNotFoundError, CorruptionError) as error:
        # A recovery may have left out a WAL, or a tail, that a read-only replica had already
        # followed. It loads everything again, too.
        if isinstance(error, CorruptionError) and not engine.storage.read_only:
            raise
        yield from rebuild(engine)


def _enter(engine: Engine, wal: Wal, position: Position, number: int) -> Op[None]:
    file = yield Open(file_name("wal", number))
    with damage_in(file.name):
        data: bytes = yield ReadAt(file, 0, HEADER_BYTES)
        header = decode_header(data, WAL_MAGIC, engine.store_id, number)
    yield from _follow(engine, wal, position, header.predecessor.end)
    with engine.lock:
        if engine.wal is not wal:
            return
        if wal.position == header.predecessor:
            engine.show_rotation(Wal(file, header, header.start()))
        elif wal.position.end >= header.predecessor.end:
            raise CorruptionError("WAL does not continue the one before it", path=file.name, offset=48)
    engine.rotated()


def rebuild(engine: Engine) -> Op[None]:
    """Load everything again, and show it unless another thread has got further."""
    before = engine.seen_version
    opened = {table.number: table for table in engine.view.version.tables()}
    state = yield from load(engine.words, engine.store_id, engine.block_cache, opened)
    with engine.lock:
        _show_state(engine, state, before)
    engine.rotated()


def _show_state(engine: Engine, state: ReplayState, before: int) -> None:
    found, known = state.wal.position, engine.wal.position
    if (found.number, found.end) < (known.number, known.end) or engine.seen_version != before:
        return
    *sealed, active = state.memtables
    hot = HotCache(engine.options.hot_cache_bytes, entry_bytes)
    engine.view = View(active, tuple(reversed(sealed)), state.version, state.catalogue, hot)
    engine.wal = state.wal
    engine.drop_pending()
    engine.seen = control.pack_position(found.number, found.end)
    engine.seen_version = state.version_word
    engine.waiters.wake_all()  # it is not known which keys were written meanwhile


def refresh(engine: Engine, *, anew: bool = False) -> Op[bool]:
    """Take over the tables that other processes have written.

    Return True if the manifest was read. Any thread. With `anew`, the manifest is read even if
    VERSION has not moved. Raises `CorruptionError` if a file that must exist is missing each time.
    """
    news = False
    attempts, tried = 0, 0
    while engine.page_is_kept and ((word := engine.words[control.VERSION]) != engine.seen_version or anew):
        news = True
        if word < engine.seen_version and not engine.storage.read_only:
            raise engine.give_up("VERSION went back, as if an older copy had been put over it")
        yield from catch_up(engine)
        before = engine.seen_version
        opened = {table.number: table for table in engine.view.version.tables()}
        try:
            tables, version = yield from load_tables(engine.store_id, engine.block_cache, opened)
        except FileNotFoundError as error:  # the manifest was replaced meanwhile, so VERSION has moved, or is about to
            attempts, tried = (attempts if word == tried else 0) + 1, word
            if attempts >= ATTEMPTS_MAX:
                raise CorruptionError("a file that the manifest needs is missing", path=str(error.filename)) from error
            yield Nap(NAP_SECONDS)
            continue
        except StorePathError:
            raise
        except OSError as error:
            raise named(error, "taking over tables") from error
        with engine.lock:
            view = engine.view
            if engine.seen_version != before:
                continue  # another thread has installed tables, which may be newer
            # The view must have all memtables: those that the manifest counts as flushed, and those
            # that it does not.
            if min(m.number for m in view.memtables) <= tables.log_number <= view.active.number:
                engine.show_tables(version, word, [m for m in view.sealed if m.number < tables.log_number])
                anew = False
                continue
        yield from rebuild(engine)
        anew = False
    return news


def _look_for_leader(engine: Engine) -> Op[None]:
    """In a read-only replica of a store that nobody had open, check whether somebody has it now."""
    yield from ()
    words = engine.storage.attach_page("control", control.CONTROL_BYTES)
    if words is None or not is_kept(engine.storage, engine.store_id, words):
        return
    if engine.distrusted == (words[control.GENERATION], words[control.COMMIT]):
        return
    engine.words = words
    engine.page_is_kept = True
    yield from rebuild(engine)


def is_kept(storage: Storage, store_id: bytes, words: Words) -> bool:
    """Return True if the page says where the WAL ends, and belongs to this store.

    It must be of this boot, or living processes must have the store open.
    """
    head = [words[i] for i in range(control.IDENTITY_WORDS)]
    boot_id = None if storage.attached() else storage.boot_id()
    return control.is_page_of(head, store_id, boot_id) and bool(words[control.COMMIT])
