"""Which stores this process has open: one for each directory, shared by handles, dropped in a forked child."""

from __future__ import annotations

import atexit
import os
from threading import Lock

from ..errors import DataError
from ..options import Options, make_options
from ..storage.directory import prepare_directory
from .store import Store, make_store

_lock = Lock()
_stores: dict[str, Store] = {}


def open_store(path: str | os.PathLike[str], given: dict[str, object]) -> Store:
    """The process's store for the directory, opened if it is not yet. Blocks; any thread.

    Options count for the first opening; later ones may leave them out or repeat them. `DataError` if they differ.
    """
    options = make_options(given)
    directory = prepare_directory(path)
    with _lock:
        store = _stores.get(directory.path)
        if store is None:
            store = make_store(directory, options)
            _stores[directory.path] = store
        else:
            _check_same(store.options, given)
        store.handles += 1
        return store


def share_store(store: Store) -> Store:
    """One more handle on an open store."""
    with _lock:
        store.handles += 1
        return store


def release_store(store: Store) -> None:
    """One handle less; with the last one the store is shut down. Blocks."""
    with _lock:
        store.handles -= 1
        if store.handles:
            return
        del _stores[store.directory.path]
        store.shut_down()


def _check_same(options: Options, given: dict[str, object]) -> None:
    differing = [name for name, value in given.items() if getattr(options, name) != value]
    if differing:
        name = differing[0]
        found, asked = getattr(options, name), given[name]
        raise DataError(f"the store is open in this process with other options: {name}={found!r}, not {asked!r}")


def _close_all() -> None:
    """At exit: what is queued is finished, and the directory is free for the next process."""
    with _lock:
        stores = list(_stores.values())
        _stores.clear()
        for store in stores:
            store.shut_down()


def _forget_in_child() -> None:
    """After a fork: the threads are gone and the locks belong to the parent. Close copies, unlock nothing."""
    global _lock
    _lock = Lock()
    for store in _stores.values():
        store.abandon("the store was opened before a fork, by the parent process")
    _stores.clear()


atexit.register(_close_all)
os.register_at_fork(after_in_child=_forget_in_child)
