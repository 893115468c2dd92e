"""Following other processes: the WAL up to the COMMIT word, and the manifest when VERSION moved.

No lock is held across I/O: bytes are read first and shown under the engine's lock if nobody else has shown them meanwhile. So any
number of threads and tasks may catch up at once, and cancelling one between two requests leaves nothing half done.
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
from .load import ATTEMPTS_MAX, NAP_SECONDS, State, load, load_tables

CHUNK_BYTES: Final = 256 << 10
Commits = list[tuple[dict[bytes, Entry], Position]]


def catch_up(engine: Engine) -> Op[None]:
    """Return when the view has everything that was acknowledged before the call. Nothing to read in most cases.

    A signal handler that comes in the middle of showing a commit reads the view as it is.
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
            raise engine.give_up("COMMIT went back, as when an older copy is put over it")
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
    """Know every commit that is in the WAL, durable or not. Under the write lock, after `catch_up`."""
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
    """Readers of this process may have followed some of them meanwhile."""
    catalogue = engine.pending[-1].catalogue if engine.pending else engine.view.catalogue
    for entries, after in commits:
        catalogue = catalogue_after(catalogue, entries)
        engine.add_pending(Pending(entries, after, catalogue))


def _follow(engine: Engine, wal: Wal, position: Position, end: int) -> Op[None]:
    """Show the commits of one WAL up to `end`, or stop when another thread has gone on with it."""
    size = CHUNK_BYTES
    while position.end < end:
        rest = end - position.end
        data: bytes = yield ReadAt(wal.file, position.end, min(size, rest))
        with damage_in(wal.file.name):
            commits = _decode(data, wal, position)
            if not commits:
                if size >= rest:
                    raise CorruptionError("acknowledged WAL frame does not verify", offset=position.end)
                size = rest  # a frame that is larger than a chunk
                continue
        if not _show(engine, wal, position, commits):
            return
        position = commits[-1][1]
        size = CHUNK_BYTES
        if position.end < end:
            yield PAUSE


def _decode(data: bytes, wal: Wal, position: Position) -> Commits:
    """The commits that are whole in `data`, which begins at `position`."""
    base = position.end
    commits: Commits = []
    while (found := next_commit(data, wal.header, position, base)) is not None:
        commits.append(found)
        position = found[1]
    return commits


def _show(engine: Engine, wal: Wal, position: Position, commits: Commits) -> bool:
    """Show commits that were read from `position` on; False if another thread has moved on from there."""
    with engine.lock:
        return _show_locked(engine, wal, position, commits)


def _show_locked(engine: Engine, wal: Wal, position: Position, commits: Commits) -> bool:
    if engine.wal is not wal or wal.position != position:
        return False
    merged = commits[0][0]
    for entries, _ in commits[1:]:
        merged.update(entries)  # nobody can see a state in between: they are shown together
    engine.show_commit(merged, commits[-1][1], catalogue_after(engine.view.catalogue, merged))
    return True


def _enter_next(engine: Engine, wal: Wal, position: Position) -> Op[None]:
    """Finish the WAL at hand and go on in its successor; when that is gone already, load everything anew."""
    try:
        yield from _enter(engine, wal, position, position.number + 1)
    except (FileNotFoundError, CorruptionError) as error:
        # A reader that was there before a recovery may find that it left out a WAL, or a tail: it begins anew, too.
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
            raise CorruptionError("WAL does not go on where the one before it ends", path=file.name, offset=48)
    engine.rotated()


def rebuild(engine: Engine) -> Op[None]:
    """Load everything anew, and show it unless another thread has come further."""
    before = engine.seen_version
    opened = {table.number: table for table in engine.view.version.tables()}
    state = yield from load(engine.words, engine.store_id, engine.block_cache, opened)
    with engine.lock:
        _show_state(engine, state, before)
    engine.rotated()


def _show_state(engine: Engine, state: State, before: int) -> None:
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
    engine.waited.wake_all()  # nobody knows any more what was written meanwhile


def refresh(engine: Engine, *, anew: bool = False) -> Op[bool]:
    """Take over the tables that other processes wrote, and drop what they replace; True if there was something new.

    With `anew` the manifest is read even if VERSION says that nothing changed. Any thread. `CorruptionError` when a file that must
    be there is missing each time.
    """
    news = False
    attempts, tried = 0, 0
    while engine.page_is_kept and ((word := engine.words[control.VERSION]) != engine.seen_version or anew):
        news = True
        if word < engine.seen_version and not engine.storage.read_only:
            raise engine.give_up("VERSION went back, as when an older copy is put over it")
        yield from catch_up(engine)
        before = engine.seen_version
        opened = {table.number: table for table in engine.view.version.tables()}
        try:
            tables, version = yield from load_tables(engine.store_id, engine.block_cache, opened)
        except (
            FileNotFoundError
        ) as error:  # replaced while it was read: then VERSION has moved, or will with the next look
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
                continue  # another thread has taken over, or made, what may be newer
            # Memtables that the manifest counts as flushed must all be here, and those that it does not, too.
            if min(m.number for m in view.memtables) <= tables.log_number <= view.active.number:
                engine.show_tables(version, word, [m for m in view.sealed if m.number < tables.log_number])
                anew = False
                continue
        yield from rebuild(engine)
        anew = False
    return news


def _look_for_leader(engine: Engine) -> Op[None]:
    """For a read-only replica of a store that nobody had open: has somebody opened it since?"""
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
    """True if the page is of this store and this boot, or of living processes, and says where the WAL ends."""
    head = [words[i] for i in range(control.IDENTITY_WORDS)]
    boot_id = None if storage.attached() else storage.boot_id()
    return control.is_page_of(head, store_id, boot_id) and bool(words[control.COMMIT])
