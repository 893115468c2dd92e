"""What the two faces share: checking arguments and choosing the view. Nothing here waits."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from threading import RLock
from types import GeneratorType
from typing import TYPE_CHECKING, Any, TypeVar

from .batch import WriteBatch
from .commands import counters, expiry, keys, scans, strings
from .commands.encoding import Expiry, Key, Value, encode_key, encode_ttl, encode_value
from .commands.strings import Write
from .engine.read import Resume, probe, search_value
from .engine.replica import catch_up
from .engine.scan import Scan
from .engine.view import View
from .errors import DataError, StoreClosed
from .format.control import COMMIT
from .format.limits import BATCH_BYTES_MAX, BATCH_RECORDS_MAX
from .runtime.registry import refuse_reentry, remember_snapshot
from .runtime.store import ClosedStore, Store
from .storage.drivers import complete
from .storage.requests import Op, Request

T = TypeVar("T")
Names = Key | Iterable[Key]
if TYPE_CHECKING:
    Searching = GeneratorType[Request, Any, bytes | None]
"""An operation, by the class that is cheap to tell from bytes"""


_closing = RLock()


def _renew_in_child() -> None:
    global _closing
    _closing = RLock()  # another thread of the parent may have held it


os.register_at_fork(after_in_child=_renew_in_child)


class Reader:
    """A keyspace of a store, now or (in a snapshot) at one moment."""

    __slots__ = ("__weakref__", "_keyspace", "_store", "_view")

    def __init__(self, store: Store | ClosedStore, keyspace: str, view: View | None = None) -> None:
        self._store: Store = store  # type: ignore[assignment]
        self._keyspace = keyspace
        self._view = view

    def _take_store(self) -> Store | None:
        """The store of a handle that is being closed, to one caller; None to all others."""
        if not isinstance(self._store, ClosedStore):
            refuse_reentry()
            self._store.refuse_reentry()  # before anything is taken, so that the handle stays usable
        with _closing:
            store: Store | ClosedStore = self._store
            self._store = ClosedStore("the handle was closed")  # type: ignore[assignment]
        return None if isinstance(store, ClosedStore) else store

    def _probe(self, name: Key) -> bytes | Searching | None:
        """The value of a key from memory, or the operation that finds it. The hot path of `get`."""
        key = name if name.__class__ is bytes and 0 < len(name) < 65_536 else encode_key(name)
        engine = self._store.engine
        view = self._view
        if view is None:
            if engine.words[COMMIT] != engine.seen:
                return self._get_behind(key)  # type: ignore[return-value]
            view = engine.view
        prefix = view.catalogue.prefixes.get(self._keyspace)
        if prefix is None:
            return None
        found = probe(view, prefix + key, engine.clock)
        if found.__class__ is Resume:
            return search_value(found, engine.clock)  # type: ignore[return-value]
        return found  # type: ignore[return-value]

    def _get_behind(self, key: bytes) -> Op[bytes | None]:
        """The value of a key once this process has seen what others have written."""
        engine = self._store.engine
        yield from catch_up(engine)
        view = engine.view
        prefix = view.prefix(self._keyspace)
        if prefix is None:
            return None
        found = probe(view, prefix + key, engine.clock)
        return (yield from search_value(found, engine.clock)) if isinstance(found, Resume) else found

    def _with_view(self, body: Callable[[View], Op[T]]) -> Op[T]:
        """Run `body` over one view that no writer changes: the snapshot's, or one pinned for this call."""
        if self._view is not None:
            return (yield from body(self._view))
        engine = self._store.engine
        yield from catch_up(engine)
        view = engine.view.pinned()
        try:
            return (yield from body(view))
        finally:
            view.unpin()

    def _mget(self, names: Names, more: tuple[Key, ...]) -> Op[list[bytes | None]]:
        wanted = encode_names(names, more)
        clock = self._store.engine.clock
        return self._with_view(lambda view: keys.mget(view, view.prefix(self._keyspace), wanted, clock))

    def _exists(self, names: tuple[Key, ...]) -> Op[int]:
        wanted = encode_names(names, ())
        clock = self._store.engine.clock
        return self._with_view(lambda view: keys.exists(view, view.prefix(self._keyspace), wanted, clock))

    def _pttl(self, name: Key) -> Op[int]:
        key = encode_key(name)
        clock = self._store.engine.clock

        def body(view: View) -> Op[int]:
            prefix = view.prefix(self._keyspace)
            return expiry.pttl(view, None if prefix is None else prefix + key, clock)

        return self._with_view(body)

    def _pin(self) -> View:
        """The view of a new snapshot. Blocks only for what others have just written, which the page cache has."""
        engine = self._store.engine
        complete(catch_up(engine), engine.storage)
        return engine.view.pinned()

    def close_after_fork(self) -> None:
        """For a snapshot in a forked child: its memtables may have been in the middle of a change."""
        self._view = None
        self._store = ClosedStore("the snapshot was taken by the parent process")  # type: ignore[assignment]


class ScanPages:
    """The pages of one scan over a view that stays pinned from the first page to `close`."""

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
        engine = reader._store.engine
        view = reader._view
        if view is None:
            yield from catch_up(engine)
            view = self._unpin = engine.view.pinned()
        remember_snapshot(self)
        prefix = view.prefix(reader._keyspace)
        if prefix is not None:
            self._prefix_bytes = len(prefix)
            self._scan = scans.open_scan(view, prefix, self._asked, engine.clock)

    def next_page(self) -> Op[list[tuple[bytes, bytes]] | None]:
        """The next pairs, perhaps none; None at the end."""
        if self._reader is None:
            raise StoreClosed("the scan was begun by the parent process")
        if not self._started:
            yield from self._start(self._reader)
        if self._scan is None or self._remaining == 0:
            return None
        pairs = yield from self._scan.next_page(self._prefix_bytes)
        if pairs is not None and self._remaining is not None:
            pairs = pairs[: self._remaining]
            self._remaining -= len(pairs)
        return pairs

    def close(self) -> None:
        """Unpin the view. Idempotent."""
        view, self._unpin = self._unpin, None
        if view is not None:
            view.unpin()

    def close_after_fork(self) -> None:
        """In a forked child: go no further."""
        self._reader = self._scan = self._unpin = None


def encode_names(names: Names, more: tuple[Key, ...]) -> list[bytes]:
    """Keys given as one, as several arguments, or as an iterable."""
    given = [names] if isinstance(names, str | bytes | bytearray | memoryview) else names
    keys = [encode_key(name) for name in (*given, *more)]
    if len(keys) > BATCH_RECORDS_MAX or sum(map(len, keys)) > BATCH_BYTES_MAX:
        raise DataError(
            f"a command takes at most {BATCH_RECORDS_MAX} keys of {BATCH_BYTES_MAX} bytes: found={len(keys)}"
        )
    return keys


def encode_mapping(mapping: object) -> list[Write]:
    """The writes of MSET."""
    if not isinstance(mapping, Mapping) or not mapping:
        raise DataError("mset needs a mapping of at least one key")
    batch = WriteBatch()
    for name, value in mapping.items():
        batch.set(name, value)
    return batch.writes


def encode_getex(ex: Expiry | None, px: Expiry | None, persist: bool) -> tuple[int | None, bool]:
    """TTL in ms, and whether to take it away, as GETEX's options say."""
    if (ex is not None) + (px is not None) + persist > 1:
        raise DataError("``ex``, ``px`` and ``persist`` are mutually exclusive.")
    ttl_ms = encode_ttl(ex) if ex is not None else encode_ttl(px, unit_ms=1) if px is not None else None
    strings.check_positive(ttl_ms, "getex")
    return ttl_ms, persist


def negative(amount: int) -> int:
    """The amount of a decrement as that of an increment."""
    return -counters.check_amount(amount)


def encode_positive_ttl(ttl: Expiry, command: str, *, unit_ms: int = 1000) -> int:
    """A TTL in ms that is at least one."""
    ttl_ms = encode_ttl(ttl, unit_ms=unit_ms)
    strings.check_positive(ttl_ms, command)
    return ttl_ms


def check_batch(batch: object) -> list[Write]:
    """The writes of a batch, copied, so that the batch can be filled again."""
    if not isinstance(batch, WriteBatch):
        raise DataError(f"write takes a WriteBatch, not {type(batch).__name__}")
    return list(batch.writes)


def value_of(name: Key, value: Value) -> tuple[bytes, bytes]:
    """Checked key and value."""
    return encode_key(name), encode_value(value)
