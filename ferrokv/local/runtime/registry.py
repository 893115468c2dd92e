"""Which stores this process has open: one for each directory, shared by handles, opened anew in a forked child."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Mapping
from importlib import import_module
from threading import RLock, Thread, current_thread
from typing import Protocol
from weakref import WeakSet

from ...errors import DataError, StoreBusy, StoreClosed
from ...options import Options
from ..engine.engine import logger
from ..storage import locks
from ..storage.directory import prepare_directory
from ..storage.local import LocalStorage
from .forks import in_child, notice
from .store import ClosedStore, Store, make_store

_lock = RLock()  # held while a store is opened or shut down; re-entrant only so that re-entry can be refused
_counting = RLock()  # held for a moment only, so that sharing a handle never waits for a disk
_stores: dict[tuple[str, bool], Store] = {}  # by path, and whether it is to read only
_snapshots: WeakSet[Closable] = WeakSet()


class Closable(Protocol):
    """A snapshot."""

    def close_after_fork(self) -> None:
        """Its memtables may have been in the middle of a change when the process forked."""


def open_store(path: str | os.PathLike[str], given: Mapping[str, object], *, read_only: bool = False) -> Store:
    """The process's store for the directory, opened if it is not yet. Blocks; any thread.

    Options count for the first opening; later ones may leave them out or repeat them. `DataError` if they differ.
    """
    notice()
    options = Options.checked(given)
    directory = prepare_directory(path, read_only=read_only)
    refuse_reentry()
    with _lock:
        store = _stores.get((directory.path, read_only))
        if store is not None and _is_elsewhere(store):
            _retire(store)
            store = None
        if store is None:
            store = make_store(directory, options)
            _stores[directory.path, read_only] = store
        else:
            _check_same(store.options, given)
        return share_store(store, first=not store.handles)


def share_store(store: Store, *, first: bool = False) -> Store:
    """One more handle on an open store. `StoreClosed` if its last one is just being closed. Never waits for I/O."""
    notice()
    with _counting:
        if not store.handles and not first:
            raise StoreClosed("the store is closing; open it again")
        store.handles += 1
    return store


def release_store(store: Store) -> None:
    """One handle less; with the last one the store is shut down. Blocks.

    `StoreBusy`, and nothing is changed, for a signal handler or destructor that came in the middle of a write, an opening or a
    closing by its own thread. In one of the store's own threads, which can not wait for itself, another thread does it.
    """
    notice()
    if store.owns_thread(current_thread()):
        Thread(target=release_store, args=(store,), name="ferrokv-release").start()
        return
    refuse_reentry()
    store.refuse_reentry()
    with _lock:
        if isinstance(store, ClosedStore):
            return  # its directory was replaced, and it was shut down for all of its handles
        with _counting:
            store.handles -= 1
            last = not store.handles
        if last:
            _forget(store)
            store.shut_down()


def _forget(store: Store) -> None:
    key = (store.directory.path, store.directory.read_only)
    if _stores.get(key) is store:
        del _stores[key]


def _is_elsewhere(store: Store) -> bool:
    """True if a store of this process is not the one that an opening of its path would find."""
    if isinstance(store, ClosedStore):
        return True
    if store.__class__ is not Store:
        return False
    if not store.is_replaced and (change := store.storage.changed()) is not None:
        store.engine.give_up(change)
    return store.is_replaced


def _retire(store: Store) -> None:
    """Shut down a store whose directory was replaced, whoever still has a handle on it. Blocks; not from its own threads."""
    with _lock:
        if store.__class__ is Store:
            _forget(store)
            store.tell_heirs()
            store.shut_down()


def _retire_later(store: Store) -> None:
    """The same, from one of the store's own threads."""
    Thread(target=_retire, args=(store,), name="ferrokv-release").start()


def refuse_reentry() -> None:
    """`StoreBusy` for a signal handler or destructor that came in the middle of an opening or closing by its own thread."""
    if _lock._is_owned():  # type: ignore[attr-defined]
        raise StoreBusy("a signal handler or destructor came in the middle of an opening or closing by its own thread")


def _check_same(options: Options, given: Mapping[str, object]) -> None:
    differing = [name for name, value in given.items() if getattr(options, name) != value]
    if differing:
        name = differing[0]
        found, asked = getattr(options, name), given[name]
        raise DataError(f"the store is open in this process with other options: {name}={found!r}, not {asked!r}")


def _prepare_for_exit() -> None:
    """At exit: what is queued is finished. Handlers that were registered before this one still find the stores open."""
    notice()  # a child that never called may end here, and has none of its parent's threads
    for store in list(_stores.values()):
        if store.__class__ is Store:
            _prepare_store(store)


def _prepare_store(store: Store) -> None:
    """One store that meets an error must not keep the others from it."""
    try:
        store.go_without_threads()
    except Exception:  # noqa: BLE001
        logger.exception("a store could not be prepared for the exit: path=%s", store.directory.path)


def opened() -> list[Store]:
    """The stores of this process."""
    return list(_stores.values())


def remember_snapshot(snapshot: Closable) -> None:
    """Have the snapshot closed in a forked child."""
    _snapshots.add(snapshot)


def _renew_in_child() -> None:
    """After a fork: the threads are gone and the locks belong to the parent. Close copies, unlock nothing, open at next use.

    Also long after it, by `notice`, when threads of this process may be using the stores of before.
    """
    global _counting, _lock
    _lock, _counting = RLock(), RLock()
    locks.renew_fork_gate()
    steps: list[Callable[[], None]] = [snapshot.close_after_fork for snapshot in list(_snapshots)]
    steps += [store.leave_to_parent for store in _stores.values()]
    # Also those that the parent was just opening or closing: their lock must end with the parent.
    steps += [storage.abandon for storage in list(LocalStorage.unclosed)]
    for step in steps:
        _insist_in_child(step)


def _insist_in_child(step: Callable[[], None]) -> None:
    """One thing that can not be given up must not keep the child from giving up the others."""
    try:
        step()
    except Exception:  # noqa: BLE001
        logger.exception("a forked child could not give up what belongs to its parent")


def _before_fork() -> None:
    locks.fork_gate.acquire()


def _after_fork_in_parent() -> None:
    locks.fork_gate.release()


atexit.register(_prepare_for_exit)
# Not by a name of this module, which handlers and fork hooks keep beyond the modules' end.
import_module(".interpreter_exit", __package__)
Store.retire_later = _retire_later
in_child(_renew_in_child)
os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent)
