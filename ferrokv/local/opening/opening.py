"""Opening a store.

A process that is alone recovers the store (recovery.py). If other processes have it open, it
attaches: it loads what their control page says is valid, and follows them from there. Both happen
under the open lock, so that only one process opens the store at a time. A read-only opening takes
no lock and changes nothing.
"""

from __future__ import annotations

from typing import Final

from ...errors import CorruptionError, StoreBusy, StorePathError, UnsupportedFormat
from ...options import Options
from ..clock import Clock
from ..engine.engine import Engine
from ..engine.slots import claim_slot
from ..format import control
from ..log.load import (
    ReplayState,
    check_tables,
    load,
    make_version,
    open_tail,
    read_catalogue,
    read_current,
    read_current_manifest,
    replay_all,
)
from ..log.replica import is_kept
from ..storage.requests import ListDirectory, Lock, Nap, Op, Storage, Words
from ..tree.lookups import BlockCache, make_cache
from ..tree.memtable import Memtable
from ..tree.view import HotCache, View, entry_bytes
from .recovery import recover

READ_ATTEMPTS: Final = 50
READ_NAP_SECONDS: Final = 0.01


def open_engine(storage: Storage, options: Options, clock: Clock) -> Op[Engine]:
    """Open the store of this directory.

    Raises `StoreBusy` if another process does not finish opening it in time.
    """
    if storage.read_only:
        return (yield from _attach_to_read(storage, options, clock))
    if not (yield Lock("open", options.busy_timeout)):
        others = ", ".join(f"pid {other.pid} ({other.program})" for other in storage.attached())
        raise StoreBusy(f"another process is opening the store: seconds={options.busy_timeout:.3g} attached={others}")
    try:
        alone = not storage.attached(sweep=True)
        storage.announce(alone=alone)
        engine = yield from (recover if alone else _attach)(storage, options, clock)
        engine.slot = engine.pins.slot = claim_slot(engine.words, storage.announced(), storage.is_announced)
        return engine
    finally:
        storage.unlocker("open")()


def _attach(storage: Storage, options: Options, clock: Clock) -> Op[Engine]:
    """Attach beside living processes, whose control page says how far the files are valid."""
    words = storage.attach_page("control", control.CONTROL_BYTES)
    if words is None:
        raise StorePathError("the control page is missing although other processes have the store open")
    current = yield from read_current()
    head = [words[i] for i in range(control.IDENTITY_WORDS)]
    if not control.is_page_of(head, current.store_id, None):
        raise UnsupportedFormat(
            "a process with another version of ferrokv, or of another store, has the directory open"
        )
    return (yield from _follow(storage, options, clock, current.store_id, words))


def _follow(storage: Storage, options: Options, clock: Clock, store_id: bytes, words: Words) -> Op[Engine]:
    cache = make_cache(storage, options)
    state = yield from load(words, store_id, cache, {})
    return _make_engine(storage, options, clock, store_id, words, state, cache)


def _attach_to_read(storage: Storage, options: Options, clock: Clock) -> Op[Engine]:
    """Open a read-only replica.

    It follows the control page if there is a valid one, else it reads the files. It takes no lock,
    so another process may open the store meanwhile and change files that are being read. So if
    something looks damaged, it reads again. Only what stays damaged is damage.
    """
    failure: Exception | None = None
    for _ in range(READ_ATTEMPTS):
        try:
            current = yield from read_current()
        except FileNotFoundError as error:
            raise StorePathError("there is no store in this directory to read") from error
        words = storage.attach_page("control", control.CONTROL_BYTES)
        if words is not None and not is_kept(storage, current.store_id, words):
            words = None
        if words is not None and storage.attached():
            return (yield from _follow(storage, options, clock, current.store_id, words))
        try:
            if words is not None:
                return (yield from _follow_or_read(storage, options, clock, current.store_id, words))
            return (yield from _read_files(storage, options, clock))
        except (FileNotFoundError, CorruptionError) as error:
            failure = error
        yield Nap(READ_NAP_SECONDS)
    if isinstance(failure, FileNotFoundError):
        raise CorruptionError("a file that the manifest needs is missing", path=str(failure.filename)) from failure
    assert failure is not None
    raise failure


def _follow_or_read(storage: Storage, options: Options, clock: Clock, store_id: bytes, words: Words) -> Op[Engine]:
    """Open a read-only replica of a store that nobody has open, by the last process's page.

    The page may be stale: it was copied before or after the other files, or an older copy of the
    files was put beside it. If it does not fit the files, they are read without it. As in recovery,
    COMMIT is then only a lower bound of what must be there.
    """
    distrusted = (words[control.GENERATION], words[control.COMMIT])
    try:
        cache = make_cache(storage, options)
        state = yield from load(words, store_id, cache, {}, attempts=1)
        return _make_engine(storage, options, clock, store_id, words, state, cache)
    except (StoreBusy, CorruptionError):
        engine = yield from _read_files(storage, options, clock, committed=distrusted[1])
    engine.distrusted = distrusted
    return engine


def _read_files(storage: Storage, options: Options, clock: Clock, committed: int | None = None) -> Op[Engine]:
    """Open a read-only replica from the files alone; `committed` is a lower bound of the WAL, or None."""
    current, manifest = yield from read_current_manifest()
    # Order: list the directory after reading the manifest, so that every WAL that it needs is in
    # the list.
    names = yield ListDirectory()
    replay = yield from replay_all(current, names, manifest.tables, committed)
    check_tables(manifest.tables, names)
    cache = make_cache(storage, options)
    # There is no page to pin these tables in, so hold them open until a process keeps the page
    # again.
    version = yield from make_version(current.store_id, manifest.tables, cache, {}).held()
    catalogue = yield from read_catalogue(version, replay.memtables)
    wal = yield from open_tail(replay.last, replay.end)
    memtables = [m for m in replay.memtables if m.number != replay.last.number]
    newest = [m for m in replay.memtables if m.number == replay.last.number]
    memtables += newest or [Memtable(replay.last.number, replay.end.seqno)]
    state = ReplayState(manifest.tables, version, 0, memtables, wal, catalogue)
    engine = _make_engine(storage, options, clock, current.store_id, [0] * (control.CONTROL_BYTES // 8), state, cache)
    engine.page_is_kept = False
    engine.seen = -1  # never equal to COMMIT, so that each read checks whether a process has opened the store
    return engine


def _make_engine(
    storage: Storage,
    options: Options,
    clock: Clock,
    store_id: bytes,
    words: Words,
    state: ReplayState,
    cache: BlockCache,
) -> Engine:
    *sealed, active = state.memtables
    hot = HotCache(options.hot_cache_bytes, entry_bytes)
    view = View(active, tuple(reversed(sealed)), state.version, state.catalogue, hot)
    return Engine(storage, options, clock, store_id, words, state.wal, view, cache, state.version_word)
