"""`BlockingFerroKV`: the face for threads. Its twin for asyncio is `api.FerroKV`; a test keeps the two equal.

Methods, arguments and answers are those of redis-py's client. Handles may be used from any number of threads.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from types import GeneratorType, TracebackType
from typing import Any, Self, TypeVar

from .batch import WriteBatch
from .commands import counters, expiry, keys, scans, strings
from .commands.encoding import Expiry, Key, Value, encode_bound, encode_key, encode_keyspace, encode_ttl, encode_value
from .engine.transaction import Command
from .runtime.registry import open_store, release_store, remember_snapshot, share_store
from .runtime.store import ClosedStore
from .runtime.waiters import Request
from .stats import Stats
from .storage.drivers import complete
from .storage.requests import Op
from .surface import (
    Names,
    Reader,
    ScanPages,
    check_batch,
    encode_getex,
    encode_mapping,
    encode_names,
    encode_positive_ttl,
    negative,
    value_of,
)

T = TypeVar("T")


class BlockingReads(Reader):
    """The commands that only read."""

    __slots__ = ()

    def get(self, name: Key) -> bytes | None:
        """The value, or None. At most one block read per level when memory does not have it."""
        found = self._probe(name)
        return self._read(found) if isinstance(found, GeneratorType) else found

    def mget(self, keys: Names, *args: Key) -> list[bytes | None]:
        """Values in the order of the keys, None for missing ones, all of one moment."""
        return self._read(self._mget(keys, args))

    def exists(self, *names: Key) -> int:
        """How many of the keys there are; one named twice counts twice."""
        return self._read(self._exists(names))

    def ttl(self, name: Key) -> int:
        """Seconds to live, rounded; -1 without TTL, -2 if there is no such key."""
        return expiry.seconds_of(self._read(self._pttl(name)))

    def pttl(self, name: Key) -> int:
        """Milliseconds to live; -1 without TTL, -2 if there is no such key."""
        return self._read(self._pttl(name))

    def scan(
        self,
        start: Key | None = None,
        end: Key | None = None,
        *,
        prefix: Key | None = None,
        reverse: bool = False,
        limit: int | None = None,
    ) -> Iterator[tuple[bytes, bytes]]:
        """Pairs of [start, end) that have the prefix, in key order or in reverse, as they were at the first step."""
        pages = ScanPages(self, scans.make_range(start, end, prefix, reverse, limit))
        try:
            while (pairs := self._read(pages.next_page())) is not None:
                yield from pairs
        finally:
            pages.close()

    def scan_iter(self, match: Key | None = None, count: int | None = None) -> Iterator[bytes]:
        """Keys that match the glob, in key order; only the range of its literal prefix is read. `count` is ignored."""
        glob = b"*" if match is None else encode_bound(match) or b""
        pattern = keys.compile_pattern(glob)
        prefix = keys.literal_prefix(glob)
        for key, _ in self.scan(prefix=prefix):
            if pattern.fullmatch(key):
                yield key

    def keys(self, pattern: Key = b"*") -> list[bytes]:
        """All keys that match the glob, in key order."""
        return list(self.scan_iter(pattern))

    def _read(self, op: Op[T]) -> T:
        return complete(op, self._store.storage)


class BlockingFerroKV(BlockingReads):
    """One keyspace of a store. Make it with `open`; use it as a context manager, or call `close`."""

    __slots__ = ()

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], *, keyspace: str = "default", read_only: bool = False, **options: Any
    ) -> BlockingFerroKV:
        """A handle on the store of a directory, which is made if it is missing; its parent must exist.

        Any number of processes may have it open. `options` are the fields of `ferrokv.Options`; handles of one process on one
        directory share the engine. With `read_only` nothing is written, locked or made, writes raise `StoreReadOnly`, and the
        right to read is enough. `StorePathError`, `UnsupportedFormat` or `CorruptionError` if the directory can not serve;
        `StoreBusy` if another process does not finish opening it within `busy_timeout`.
        """
        name = encode_keyspace(keyspace)
        return cls(open_store(path, options, read_only=read_only), name)

    def close(self) -> None:
        """Give the handle back; the last one finishes queued writes and releases the directory. Idempotent."""
        store = self._take_store()
        if store is not None:
            release_store(store)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def keyspace(self, name: str) -> BlockingFerroKV:
        """A handle on another keyspace of the same store; close it on its own."""
        return BlockingFerroKV(share_store(self._store), encode_keyspace(name))

    def snapshot(self) -> BlockingSnapshot:
        """The keyspace as it is now, to read from; close it, for it keeps replaced versions alive."""
        snapshot = BlockingSnapshot(self._store, self._keyspace, self._pin())
        remember_snapshot(snapshot)
        return snapshot

    def set(
        self,
        name: Key,
        value: Value,
        ex: Expiry | None = None,
        px: Expiry | None = None,
        nx: bool = False,
        xx: bool = False,
        keepttl: bool = False,
        get: bool = False,
        exat: int | None = None,
        pxat: int | None = None,
    ) -> Any:
        """True, or None when `nx` or `xx` forbade it; with `get`, the old value or None."""
        options = strings.make_set_options(ex, px, nx, xx, keepttl, get, exat, pxat)
        return self._write(strings.set_value, encode_key(name), encode_value(value), options)

    def set_ex(self, name: Key, value: Value, ttl: Expiry) -> bool:
        """True. The key expires after `ttl`, seconds or a timedelta, exact to the millisecond."""
        ttl_ms = encode_positive_ttl(ttl, "setex")
        return bool(self._write(strings.set_with_ttl, *value_of(name, value), ttl_ms, "setex"))

    def setex(self, name: Key, time: Expiry, value: Value) -> bool:
        """True. `set_ex` in the order of redis-py's arguments."""
        return self.set_ex(name, value, time)

    def getex(
        self, name: Key, ex: Expiry | None = None, px: Expiry | None = None, persist: bool = False
    ) -> bytes | None:
        """The value or None; its TTL becomes `ex` seconds or `px` ms, or is taken away with `persist`."""
        options = encode_getex(ex, px, persist)
        found: bytes | None = self._write(strings.get_and_expire, encode_key(name), *options)
        return found

    def compare_and_set(
        self, name: Key, expected: Value, value: Value, ex: Expiry | None = None, px: Expiry | None = None
    ) -> bool:
        """True if the key held `expected` and now holds `value`; its TTL stays, unless `ex` or `px` gives another."""
        ttl_ms, _ = encode_getex(ex, px, False)
        key, new = value_of(name, value)
        return bool(self._write(strings.compare_and_set, key, encode_value(expected), new, ttl_ms))

    def compare_and_delete(self, name: Key, expected: Value) -> bool:
        """True if the key held `expected` and is now gone."""
        return bool(self._write(strings.compare_and_delete, *value_of(name, expected)))

    def mset(self, mapping: Mapping[Any, Value]) -> bool:
        """True. All keys of the mapping at once."""
        return bool(self._write(strings.write_many, encode_mapping(mapping)))

    def delete(self, *names: Key) -> int:
        """How many of the keys there were; they are gone."""
        deleted: int = self._write(keys.delete, encode_names(names, ()))
        return deleted

    def rename(self, src: Key, dst: Key) -> bool:
        """True. The value and TTL of `src` are now at `dst`; `ResponseError` if there is no `src`."""
        return bool(self._write(keys.rename, encode_key(src), encode_key(dst)))

    def incrby(self, name: Key, amount: int = 1, *, xx: bool = False) -> Any:
        """The counter after adding; its TTL stays. A missing key counts as 0, or answers None with `xx`."""
        return self._write(counters.increment, encode_key(name), counters.check_amount(amount), xx)

    def incr(self, name: Key, amount: int = 1, *, xx: bool = False) -> Any:
        """As `incrby`."""
        return self.incrby(name, amount, xx=xx)

    def decrby(self, name: Key, amount: int = 1, *, xx: bool = False) -> Any:
        """The counter after subtracting; otherwise as `incrby`."""
        return self.incrby(name, negative(amount), xx=xx)

    def decr(self, name: Key, amount: int = 1, *, xx: bool = False) -> Any:
        """As `decrby`."""
        return self.decrby(name, amount, xx=xx)

    def expire(
        self, name: Key, time: Expiry, nx: bool = False, xx: bool = False, gt: bool = False, lt: bool = False
    ) -> bool:
        """True if the key is there and now lives `time` seconds; one not above 0 deletes it. Flags as in Redis 7."""
        expiry.check_flags(nx, xx, gt, lt)
        return bool(self._write(expiry.expire, encode_key(name), encode_ttl(time), (nx, xx, gt, lt), "expire"))

    def pexpire(
        self, name: Key, time: Expiry, nx: bool = False, xx: bool = False, gt: bool = False, lt: bool = False
    ) -> bool:
        """As `expire`, in milliseconds."""
        expiry.check_flags(nx, xx, gt, lt)
        ttl_ms = encode_ttl(time, unit_ms=1)
        return bool(self._write(expiry.expire, encode_key(name), ttl_ms, (nx, xx, gt, lt), "pexpire"))

    def persist(self, name: Key) -> bool:
        """True if the key had a TTL; now it has none."""
        return bool(self._write(expiry.persist, encode_key(name)))

    def write(self, batch: WriteBatch) -> bool:
        """True. Every write of the batch, or none: one frame, one sync."""
        writes = check_batch(batch)
        return bool(self._write(strings.write_many, writes))

    def flushdb(self) -> bool:
        """True. The keyspace is empty: one durable record, whatever its size; other keyspaces are untouched."""
        return bool(self._write(keys.clear))

    def flush(self) -> bool:
        """True. What was written before is in tables, and its WALs are gone."""
        return bool(self._background("flush"))

    def compact(self) -> bool:
        """True. What was written before is in one level of tables, without what is deleted or long expired."""
        return bool(self._background("compact"))

    def stats(self) -> Stats:
        """Numbers on the whole store, from memory."""
        return self._store.stats()

    def _write(self, command: Command, *args: Any) -> Any:
        request = Request(command, self._keyspace, args)
        self._store.serve(request)
        return request.outcome()

    def _background(self, job: str) -> Any:
        self._write_seal()
        request = Request(None, self._keyspace, (job,))
        lock = request.for_thread()
        self._store.submit_background(request)
        lock.acquire()
        return request.outcome()

    def _write_seal(self) -> None:
        """Have the writer seal the active memtable."""
        request = Request(None, self._keyspace, ())
        lock = request.for_thread()
        self._store.submit(request)
        lock.acquire()
        request.outcome()


class BlockingSnapshot(BlockingReads):
    """A keyspace at one moment: the reads of `BlockingFerroKV`, unmoved by later writes. TTLs go on running."""

    __slots__ = ()

    def close(self) -> None:
        """Let go of the versions that only this snapshot sees. Idempotent."""
        view, self._view = self._view, None
        self._store = ClosedStore("the snapshot was closed")  # type: ignore[assignment]
        if view is not None:
            view.unpin()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_view", None) is not None:
            self.close()
