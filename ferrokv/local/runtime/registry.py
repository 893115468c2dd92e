"""The stores that this process has open: one per directory, shared by all of its handles.

A store is opened by its first handle and shut down with its last one. `_lock` serializes opening
and shutting down, which may take long. `_counting` guards the number of handles and is held for a
moment only, so that sharing a handle never waits for a disk.

In a forked child, every store of the parent is given up without unlocking anything, and opens its
directory again on first use (`StoreState.INHERITED`). At exit, stores finish what is queued but stay open,
for exit handlers that were registered earlier. If the directory was replaced, its store is retired
here, so that a new opening finds what is there now.
"""

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
from ..storage import lock_files
from ..storage.directory import prepare_directory
from ..storage.local import LocalStorage
from .forks import in_child, notice
from .store import Store, StoreState

_lock = RLock()  # held to open or shut down a store; re-entrant only so that re-entry can be refused
_counting = RLock()  # guards `Store.handles`; held briefly
_stores: dict[tuple[str, bool], Store] = {}  # by path and read_only
_snapshots: WeakSet[Closable] = WeakSet()


class Closable(Protocol):
    """A snapshot or scan."""

    def close_after_fork(self) -> None:
        """Disable it in a forked child: its memtables may be in the middle of a change."""


def open_store(path: str | os.PathLike[str], given: Mapping[str, object], *, read_only: bool = False) -> Store:
    """Return this process's store for a directory, opening it if needed. Blocks; any thread.

    The first opening sets the options. Later ones may omit or repeat them; `DataError` if they
    differ.
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
            store = Store(directory, options)
            store.open()
            _stores[directory.path, read_only] = store
        else:
            _check_same(store.options, given)
        return share_store(store, first=not store.handles)


def share_store(store: Store, *, first: bool = False) -> Store:
    """Add a handle to an open store. Never waits for I/O.

    `StoreClosed` if its last handle is being closed.
    """
    notice()
    with _counting:
        if store.state is StoreState.CLOSED:
            store.require()
        if not store.handles and not first:
            raise StoreClosed("the store is closing; open it again")
        store.handles += 1
    return store


def release_store(store: Store) -> None:
    """Remove a handle; removing the last one shuts the store down. Blocks.

    `StoreBusy`, with nothing changed, in a signal handler or destructor that interrupted a write,
    an opening or a closing of its own thread. One of the store's own threads cannot wait for
    itself, so there another thread does the work.
    """
    notice()
    if store.owns_thread(current_thread()):
        Thread(target=release_store, args=(store,), name="ferrokv-release").start()
        return
    refuse_reentry()
    store.refuse_reentry()
    with _lock:
        if store.state is StoreState.CLOSED:
            return  # its directory was replaced, so it was shut down for all its handles
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
    """True if opening its path now would find another store."""
    if store.state is not StoreState.OPEN:
        return store.state is StoreState.CLOSED
    if not store.is_replaced and (change := store.storage.changed()) is not None:
        store.engine.give_up(change)
    return store.is_replaced


def _retire(store: Store) -> None:
    """Shut down a store whose directory was replaced, even if it still has handles.

    Blocks; not for its own threads.
    """
    with _lock:
        if store.state is StoreState.OPEN:
            _forget(store)
            store.announce_replacement()
            store.shut_down()


def _retire_later(store: Store) -> None:
    """As `_retire`, from one of the store's own threads."""
    Thread(target=_retire, args=(store,), name="ferrokv-release").start()


def refuse_reentry() -> None:
    """Raise `StoreBusy` in a handler or destructor that interrupted an opening or closing."""
    if _lock._is_owned():  # type: ignore[attr-defined]
        raise StoreBusy("a signal handler or destructor interrupted an opening or closing of its own thread")


def _check_same(options: Options, given: Mapping[str, object]) -> None:
    differing = [name for name, value in given.items() if getattr(options, name) != value]
    if differing:
        name = differing[0]
        found, asked = getattr(options, name), given[name]
        raise DataError(
            f"the store is already open in this process with other options: {name}={found!r}, not {asked!r}"
        )


def _prepare_for_exit() -> None:
    """At exit, finish what is queued.

    Exit handlers registered earlier still find the stores open.
    """
    notice()  # a child that never called ferrokv may exit here, without its parent's threads
    for store in list(_stores.values()):
        if store.state is StoreState.OPEN:
            _prepare_store(store)


def _prepare_store(store: Store) -> None:
    """Prepare one store; an error must not affect the others."""
    try:
        store.go_without_threads()
    except Exception:  # noqa: BLE001
        logger.exception("cannot prepare a store for exit: path=%s", store.directory.path)


def opened() -> list[Store]:
    """The stores of this process."""
    return list(_stores.values())


def remember_snapshot(snapshot: Closable) -> None:
    """Have the snapshot or scan disabled in a forked child."""
    _snapshots.add(snapshot)


def _renew_in_child() -> None:
    """After a fork, give up what belongs to the parent.

    The parent's threads do not exist here, and the locks are the parent's: close copies of
    descriptors, unlock nothing, and reopen on next use. `notice` may call this long after the fork,
    when threads of this process already use the old stores.
    """
    global _counting, _lock
    _lock, _counting = RLock(), RLock()
    lock_files.renew_fork_gate()
    steps: list[Callable[[], None]] = [snapshot.close_after_fork for snapshot in list(_snapshots)]
    steps += [store.leave_to_parent for store in _stores.values()]
    # Also what the parent was just opening or closing: those locks must end with the parent.
    steps += [storage.abandon for storage in list(LocalStorage.unclosed)]
    for step in steps:
        _insist_in_child(step)


def _insist_in_child(step: Callable[[], None]) -> None:
    """Run one step; if it fails, the others must still run."""
    try:
        step()
    except Exception:  # noqa: BLE001
        logger.exception("a forked child failed to give up what belongs to its parent")


def _before_fork() -> None:
    lock_files.fork_gate.acquire()


def _after_fork_in_parent() -> None:
    lock_files.fork_gate.release()


atexit.register(_prepare_for_exit)
# Do not keep it in a name of this module: handlers and fork hooks outlive the modules.
import_module(".interpreter_exit", __package__)
Store.retire_later = _retire_later
in_child(_renew_in_child)
os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent)
