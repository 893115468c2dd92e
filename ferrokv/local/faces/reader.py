"""What the two interfaces share: choosing the view to read, and the pages of scans.

Nothing waits.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from threading import RLock
from types import GeneratorType
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from ...contract.encoding import Key, encode_bound, encode_key
from ...errors import StoreClosed, StoreReplaced
from ..commands import scans
from ..commands.collections import check_string
from ..commands.keys import compile_pattern, literal_prefix, name_of_type
from ..commands.locks import Owners
from ..engine.engine import Engine
from ..format.control import COMMIT
from ..log.pins import ask_newest, find_newest, pin_view
from ..log.replica import catch_up
from ..runtime.closed import ClosedStore
from ..runtime.forks import in_child, notice
from ..runtime.registry import refuse_reentry, remember_snapshot
from ..runtime.store import Store, StoreState
from ..storage.drivers import complete
from ..storage.requests import PAUSE, Op, Request
from ..tree.read import PendingRead, probe, search_value
from ..tree.records import Records, ViewRecords
from ..tree.scan import Scan
from ..tree.view import View
from .arguments import encode_type
from .unopened import Unopened

P = ParamSpec("P")
T = TypeVar("T")
if TYPE_CHECKING:
    Searching = GeneratorType[Request, Any, bytes | None]
"""An operation that searches for a value. A generator is cheap to tell from bytes by its class."""


_exchanging = RLock()


def _renew_in_child() -> None:
    global _exchanging
    _exchanging = RLock()  # another thread of the parent may hold it


in_child(_renew_in_child)


class Reader:
    """A keyspace of a store: the newest state, or for a snapshot the state at one moment."""

    __slots__ = ("__weakref__", "_keyspace", "_store", "_unopened", "_view", "_was_open")

    def __init__(self, store: Store | ClosedStore | Unopened, keyspace: str, view: View | None = None) -> None:
        self._store: Store = store  # type: ignore[assignment]
        self._keyspace = keyspace
        self._view = view
        self._unopened: Unopened | None = None  # what a handle turns into if its directory is replaced
        self._was_open = False

    def __repr__(self) -> str:
        store: Store | ClosedStore | Unopened = self._store
        where, state = "", "closed"
        if isinstance(store, Unopened):
            where, state = f" path={store.arguments.path!r}", "not open yet"
        elif isinstance(store, Store):
            where, state = f" path={store.directory.path!r}", store.state.value
        return f"<{type(self).__name__}{where} keyspace={self._keyspace!r} {state}>"

    def _take_store(self) -> Store | None:
        """Take the store out of a handle that is being closed.

        Only one caller gets it; others get None.
        """
        notice()
        held: Store | ClosedStore | Unopened = self._store
        if not isinstance(held, ClosedStore):
            refuse_reentry()
            held.refuse_reentry()  # before taking anything, so that the handle stays usable
        with _exchanging:
            store: Store | ClosedStore | Unopened = self._store
            self._store = ClosedStore("the handle was closed")  # type: ignore[assignment]
        if isinstance(store, ClosedStore | Unopened) or store.state is StoreState.CLOSED:
            return None
        store.end_waiting(self)
        self._leave(store)
        return store

    def _leave(self, store: Store) -> None:
        """A handle that opened the store itself no longer wants to hear of its replacement."""
        if self._unopened is not None:
            with suppress(StoreClosed, StoreReplaced):
                store.reopening.pop(id(self), None)

    def lose(self, store: Store) -> None:
        """The store's directory was removed or replaced, so the next use opens again. Any thread."""
        if self._unopened is not None:
            self._was_open = True
            self._exchange(store, self._unopened)

    def _exchange(self, expected: Store | Unopened, other: Store | Unopened) -> bool:
        """Replace the handle's store, if it is still the expected one. Returns True if it was."""
        with _exchanging:
            if self._store is not expected:
                return False
            self._store = other  # type: ignore[assignment]
        return True

    def _opened(self) -> Store:
        """Return the store, opening it if this is a handle for threads that was never used."""
        store: Store | Unopened = self._store
        return store.require() if isinstance(store, Unopened) else store

    def _probe(self, name: Key) -> bytes | Searching | None:
        """Return a key's value from memory, or an operation that finds it.

        The hot path of `get`.
        """
        key = name if name.__class__ is bytes and 0 < len(name) < 65_536 else encode_key(name)
        engine = self._store.engine
        if not engine.ok_flag[0]:
            engine = self._attended()
        view = self._view
        if view is None:
            if engine.words[COMMIT] != engine.seen:
                return self._get_behind(key)  # type: ignore[return-value]
            view = engine.view
        prefix = view.prefixes.get(self._keyspace)
        if prefix is None:
            return None
        found = probe(view, prefix + key, engine.clock)
        if found.__class__ is PendingRead:
            if self._view is None:
                return find_newest(engine, self._keyspace, key, found)  # type: ignore[return-value]
            return search_value(found, engine.clock)  # type: ignore[return-value]
        return found  # type: ignore[return-value]

    def _attended(self) -> Engine:
        """Return the engine, after handling what is pending: this may be an unnoticed fork."""
        if not self._store.engine.ok_flag[0]:
            self._store.attend()
        return self._store.engine

    def _get_behind(self, key: bytes) -> Op[bytes | None]:
        """Catch up with what other processes wrote, then look up the key."""
        engine = self._store.engine
        yield from catch_up(engine)
        return (yield from find_newest(engine, self._keyspace, key))

    def _finish_get(self, found: bytes | Searching) -> Op[bytes | None]:
        """Complete `get` when `_probe` did not return plain bytes.

        `ResponseError` for a collection.
        """
        value = (yield from found) if isinstance(found, GeneratorType) else found
        if value is not None:
            check_string((value, 0))
        return value

    def _ask(self, command: Callable[Concatenate[Records, P], Op[T]], *args: P.args, **kwargs: P.kwargs) -> Op[T]:
        """Run a reading command on one view that no writer changes.

        That is the snapshot's view, or one pinned for this call.
        """
        engine = self._store.engine

        def ask(view: View) -> Op[T]:
            return command(ViewRecords(view, self._keyspace, engine.clock), *args, **kwargs)

        view = self._view
        if view is not None:
            return (yield from ask(view))
        if engine.words[COMMIT] != engine.seen:
            yield from catch_up(engine)
        return (yield from ask_newest(engine, ask))

    def when_replaced(self, callback: Callable[[], None]) -> None:
        """Call `callback()` once if the directory turns out to have been removed or replaced.

        It is called from any thread, and must not block or raise. From then on every handle on the
        directory raises `StoreReplaced`, and opening it again finds what is there now.
        """
        self._attended()
        self._opened().on_replaced.append(callback)

    def _identity(self) -> Owners:
        """Return this process's identity, for locks."""
        storage = self._attended().storage
        return Owners(storage.announced(), storage.is_announced, storage.random_bytes)

    def _pin(self) -> View:
        """Return a pinned view for a new snapshot.

        Blocks only to read what others have just written, which is in the page cache.
        """
        engine = self._attended()
        complete(catch_up(engine), engine.storage)
        return complete(pin_view(engine), engine.storage)

    def close_after_fork(self) -> None:
        """Disable a snapshot in a forked child.

        Its memtables may have been forked in the middle of a change.
        """
        self._view = None
        self._store = ClosedStore("the snapshot was taken by the parent process")  # type: ignore[assignment]


class ScanPages:
    """The pages of one scan, over a view that stays pinned from the first page until `close`."""

    __slots__ = ("__weakref__", "_asked", "_prefix_bytes", "_reader", "_remaining", "_scan", "_started", "_unpin")

    def __init__(self, reader: Reader, asked: scans.Range) -> None:
        self._reader: Reader | None = reader
        self._asked = asked
        self._remaining = asked.limit
        self._started = False
        self._unpin: View | None = None
        self._scan: Scan | None = None
        self._prefix_bytes = 0

    def _start(self, reader: Reader) -> Op[None]:
        self._started = True
        engine = reader._attended()
        view = reader._view
        if view is None:
            yield from catch_up(engine)
            view = self._unpin = yield from pin_view(engine)
        remember_snapshot(self)
        prefix = view.prefix(reader._keyspace)
        if prefix is not None:
            self._prefix_bytes = len(prefix)
            self._scan = scans.open_scan(view, prefix, self._asked, engine.clock)

    def next_page(self) -> Op[list[tuple[bytes, bytes]] | None]:
        """Return the next (key, value) pairs of string keys, possibly none; None at the end."""
        pairs = yield from self._next_records(strings=True)
        if pairs is None or self._remaining == 0:
            return None
        if self._remaining is not None:
            pairs = pairs[: self._remaining]
            self._remaining -= len(pairs)
        return pairs

    def _next_records(self, *, strings: bool) -> Op[list[tuple[bytes, bytes]] | None]:
        """Return the next keys with what they hold; with `strings`, without collections."""
        if self._reader is None:
            raise StoreClosed("the scan was begun by the parent process")
        if not self._started:
            yield from self._start(self._reader)
        elif self._remaining != 0:
            yield PAUSE
        if self._scan is None or self._remaining == 0:
            return None
        return (yield from self._scan.next_page(self._prefix_bytes, strings=strings))

    def close(self) -> None:
        """Unpin the view. Idempotent."""
        view, self._unpin = self._unpin, None
        if view is not None:
            view.unpin()

    def close_after_fork(self) -> None:
        """Disable the scan in a forked child."""
        self._reader = self._scan = self._unpin = None


class KeyPages(ScanPages):
    """The pages of a scan for keys that match a glob and have a type."""

    __slots__ = ("_pattern", "_type")

    def __init__(self, reader: Reader, match: Key | None, type_name: str | None) -> None:
        glob = b"*" if match is None else encode_bound(match) or b""
        super().__init__(reader, scans.make_range(None, None, literal_prefix(glob), False, None))
        self._pattern: re.Pattern[bytes] | None = None if glob == b"*" else compile_pattern(glob)
        self._type = encode_type(type_name)

    def next_keys(self) -> Op[list[bytes] | None]:
        """Return the next keys, possibly none; None at the end."""
        records = yield from self._next_records(strings=False)
        if records is None:
            return None
        wanted = self._type
        if wanted is not None:
            records = [record for record in records if name_of_type(record[1]) == wanted]
        if self._pattern is None:
            return [key for key, _ in records]
        matches = self._pattern.fullmatch
        return [key for key, _ in records if matches(key)]
