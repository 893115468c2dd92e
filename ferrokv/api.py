"""`FerroKV`: the asyncio face. Its twin for threads is `blocking.BlockingFerroKV`; a test keeps the two equal.

Methods, arguments and answers are those of redis-py's asyncio client. No call blocks the event loop: what memory or the
page cache can answer is answered inline, everything else happens on other threads. A `get` that memory answers does not
yield to the loop; scans yield after each page. Cancelling a write stops the waiting, not the write. Handles may be used
from any number of event loops of the process.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Mapping
from contextlib import aclosing
from types import GeneratorType, TracebackType
from typing import Any, Self, TypeVar

from .batch import WriteBatch
from .commands import counters, expiry, keys, scans, strings
from .commands.encoding import Expiry, Key, Value, encode_bound, encode_key, encode_keyspace, encode_ttl, encode_value
from .engine.transaction import Command
from .runtime.registry import open_store, release_store, remember_snapshot, share_store
from .runtime.store import ClosedStore, Store
from .runtime.waiters import Request
from .stats import Stats
from .storage.adrivers import acomplete
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


class AsyncReads(Reader):
    """The commands that only read."""

    __slots__ = ()

    async def get(self, name: Key) -> bytes | None:
        """The value, or None. At most one block read per level when memory does not have it."""
        found = self._probe(name)
        return await self._read(found) if isinstance(found, GeneratorType) else found

    async def mget(self, keys: Names, *args: Key) -> list[bytes | None]:
        """Values in the order of the keys, None for missing ones, all of one moment."""
        return await self._read(self._mget(keys, args))

    async def exists(self, *names: Key) -> int:
        """How many of the keys there are; one named twice counts twice."""
        return await self._read(self._exists(names))

    async def ttl(self, name: Key) -> int:
        """Seconds to live, rounded; -1 without TTL, -2 if there is no such key."""
        return expiry.seconds_of(await self._read(self._pttl(name)))

    async def pttl(self, name: Key) -> int:
        """Milliseconds to live; -1 without TTL, -2 if there is no such key."""
        return await self._read(self._pttl(name))

    async def scan(
        self,
        start: Key | None = None,
        end: Key | None = None,
        *,
        prefix: Key | None = None,
        reverse: bool = False,
        limit: int | None = None,
    ) -> AsyncGenerator[tuple[bytes, bytes], None]:
        """Pairs of [start, end) that have the prefix, in key order or in reverse, as they were at the first step."""
        pages = ScanPages(self, scans.make_range(start, end, prefix, reverse, limit))
        try:
            while (pairs := await self._read(pages.next_page())) is not None:
                for pair in pairs:
                    yield pair
                await asyncio.sleep(0)
        finally:
            pages.close()

    async def scan_iter(self, match: Key | None = None, count: int | None = None) -> AsyncIterator[bytes]:
        """Keys that match the glob, in key order; only the range of its literal prefix is read. `count` is ignored."""
        glob = b"*" if match is None else encode_bound(match) or b""
        pattern = keys.compile_pattern(glob)
        prefix = keys.literal_prefix(glob)
        async with aclosing(self.scan(prefix=prefix)) as pairs:
            async for key, _ in pairs:
                if pattern.fullmatch(key):
                    yield key

    async def keys(self, pattern: Key = b"*") -> list[bytes]:
        """All keys that match the glob, in key order."""
        return [key async for key in self.scan_iter(pattern)]

    async def _read(self, op: Op[T]) -> T:
        store = self._store
        return await acomplete(op, store.storage, store.pool)


class FerroKV(AsyncReads):
    """One keyspace of a store. Make it with `open`; use it as a context manager, or call `close`."""

    __slots__ = ()

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], *, keyspace: str = "default", read_only: bool = False, **options: Any
    ) -> Opening:
        """A handle on the store of a directory, which is made if it is missing; its parent must exist.

        Both `db = await FerroKV.open(path)` and `async with FerroKV.open(path) as db:` work.
        Any number of processes may have it open. `options` are the fields of `ferrokv.Options`; handles of one process on one
        directory share the engine. With `read_only` nothing is written, locked or made, writes raise `StoreReadOnly`, and the
        right to read is enough. `StorePathError`, `UnsupportedFormat` or `CorruptionError` if the directory can not serve;
        `StoreBusy` if another process does not finish opening it within `busy_timeout`.
        """
        return Opening(path, encode_keyspace(keyspace), read_only, options)

    async def close(self) -> None:
        """Give the handle back; the last one finishes queued writes and releases the directory. Idempotent."""
        store = self._take_store()
        if store is not None:
            try:
                releasing = asyncio.get_running_loop().run_in_executor(None, release_store, store)
            except RuntimeError:  # the loop's executor has been shut down
                threading.Thread(target=release_store, args=(store,), name="ferrokv-release").start()
            else:
                await asyncio.shield(
                    releasing
                )  # a caller who is cancelled stops waiting; the store is released all the same

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    def keyspace(self, name: str) -> FerroKV:
        """A handle on another keyspace of the same store; close it on its own."""
        return FerroKV(share_store(self._store), encode_keyspace(name))

    def snapshot(self) -> Snapshot:
        """The keyspace as it is now, to read from; close it, for it keeps replaced versions alive."""
        snapshot = Snapshot(self._store, self._keyspace, self._pin())
        remember_snapshot(snapshot)
        return snapshot

    async def set(
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
        return await self._write(strings.set_value, encode_key(name), encode_value(value), options)

    async def set_ex(self, name: Key, value: Value, ttl: Expiry) -> bool:
        """True. The key expires after `ttl`, seconds or a timedelta, exact to the millisecond."""
        ttl_ms = encode_positive_ttl(ttl, "setex")
        return bool(await self._write(strings.set_with_ttl, *value_of(name, value), ttl_ms, "setex"))

    async def setex(self, name: Key, time: Expiry, value: Value) -> bool:
        """True. `set_ex` in the order of redis-py's arguments."""
        return await self.set_ex(name, value, time)

    async def getex(
        self, name: Key, ex: Expiry | None = None, px: Expiry | None = None, persist: bool = False
    ) -> bytes | None:
        """The value or None; its TTL becomes `ex` seconds or `px` ms, or is taken away with `persist`."""
        options = encode_getex(ex, px, persist)
        found: bytes | None = await self._write(strings.get_and_expire, encode_key(name), *options)
        return found

    async def compare_and_set(
        self, name: Key, expected: Value, value: Value, ex: Expiry | None = None, px: Expiry | None = None
    ) -> bool:
        """True if the key held `expected` and now holds `value`; its TTL stays, unless `ex` or `px` gives another."""
        ttl_ms, _ = encode_getex(ex, px, False)
        key, new = value_of(name, value)
        return bool(await self._write(strings.compare_and_set, key, encode_value(expected), new, ttl_ms))

    async def compare_and_delete(self, name: Key, expected: Value) -> bool:
        """True if the key held `expected` and is now gone."""
        return bool(await self._write(strings.compare_and_delete, *value_of(name, expected)))

    async def mset(self, mapping: Mapping[Any, Value]) -> bool:
        """True. All keys of the mapping at once."""
        return bool(await self._write(strings.write_many, encode_mapping(mapping)))

    async def delete(self, *names: Key) -> int:
        """How many of the keys there were; they are gone."""
        deleted: int = await self._write(keys.delete, encode_names(names, ()))
        return deleted

    async def rename(self, src: Key, dst: Key) -> bool:
        """True. The value and TTL of `src` are now at `dst`; `ResponseError` if there is no `src`."""
        return bool(await self._write(keys.rename, encode_key(src), encode_key(dst)))

    async def incrby(self, name: Key, amount: int = 1, *, xx: bool = False) -> Any:
        """The counter after adding; its TTL stays. A missing key counts as 0, or answers None with `xx`."""
        return await self._write(counters.increment, encode_key(name), counters.check_amount(amount), xx)

    async def incr(self, name: Key, amount: int = 1, *, xx: bool = False) -> Any:
        """As `incrby`."""
        return await self.incrby(name, amount, xx=xx)

    async def decrby(self, name: Key, amount: int = 1, *, xx: bool = False) -> Any:
        """The counter after subtracting; otherwise as `incrby`."""
        return await self.incrby(name, negative(amount), xx=xx)

    async def decr(self, name: Key, amount: int = 1, *, xx: bool = False) -> Any:
        """As `decrby`."""
        return await self.decrby(name, amount, xx=xx)

    async def expire(
        self, name: Key, time: Expiry, nx: bool = False, xx: bool = False, gt: bool = False, lt: bool = False
    ) -> bool:
        """True if the key is there and now lives `time` seconds; one not above 0 deletes it. Flags as in Redis 7."""
        expiry.check_flags(nx, xx, gt, lt)
        return bool(await self._write(expiry.expire, encode_key(name), encode_ttl(time), (nx, xx, gt, lt), "expire"))

    async def pexpire(
        self, name: Key, time: Expiry, nx: bool = False, xx: bool = False, gt: bool = False, lt: bool = False
    ) -> bool:
        """As `expire`, in milliseconds."""
        expiry.check_flags(nx, xx, gt, lt)
        ttl_ms = encode_ttl(time, unit_ms=1)
        return bool(await self._write(expiry.expire, encode_key(name), ttl_ms, (nx, xx, gt, lt), "pexpire"))

    async def persist(self, name: Key) -> bool:
        """True if the key had a TTL; now it has none."""
        return bool(await self._write(expiry.persist, encode_key(name)))

    async def write(self, batch: WriteBatch) -> bool:
        """True. Every write of the batch, or none: one frame, one sync."""
        writes = check_batch(batch)
        return bool(await self._write(strings.write_many, writes))

    async def flushdb(self) -> bool:
        """True. The keyspace is empty: one durable record, whatever its size; other keyspaces are untouched."""
        return bool(await self._write(keys.clear))

    async def flush(self) -> bool:
        """True. What was written before is in tables, and its WALs are gone."""
        return bool(await self._background("flush"))

    async def compact(self) -> bool:
        """True. What was written before is in one level of tables, without what is deleted or long expired."""
        return bool(await self._background("compact"))

    def stats(self) -> Stats:
        """Numbers on the whole store, from memory."""
        return self._store.stats()

    async def _write(self, command: Command, *args: Any) -> Any:
        request = Request(command, self._keyspace, args)
        future = request.for_loop(asyncio.get_running_loop())
        self._store.submit(request)
        return await future

    async def _background(self, job: str) -> Any:
        await self._write_seal()
        request = Request(None, self._keyspace, (job,))
        future = request.for_loop(asyncio.get_running_loop())
        self._store.submit_background(request)
        return await future

    async def _write_seal(self) -> None:
        """Have the writer seal the active memtable."""
        request = Request(None, self._keyspace, ())
        future = request.for_loop(asyncio.get_running_loop())
        self._store.submit(request)
        await future


class Snapshot(AsyncReads):
    """A keyspace at one moment: the reads of `FerroKV`, unmoved by later writes. TTLs go on running."""

    __slots__ = ()

    def close(self) -> None:
        """Let go of the versions that only this snapshot sees. Idempotent."""
        view, self._view = self._view, None
        self._store = ClosedStore("the snapshot was closed")  # type: ignore[assignment]
        if view is not None:
            view.unpin()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_view", None) is not None:
            self.close()


class Opening:
    """A store on its way to be opened: await it, or enter it."""

    __slots__ = ("_handle", "_keyspace", "_options", "_path", "_read_only")

    def __init__(
        self, path: str | os.PathLike[str], keyspace: str, read_only: bool, options: dict[str, object]
    ) -> None:
        self._path = path
        self._keyspace = keyspace
        self._read_only = read_only
        self._options = options
        self._handle: FerroKV | None = None

    def __await__(self) -> Generator[Any, None, FerroKV]:
        return self._open().__await__()

    async def __aenter__(self) -> FerroKV:
        self._handle = await self._open()
        return self._handle

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        if self._handle is not None:
            await self._handle.close()

    async def _open(self) -> FerroKV:
        """Open in a thread. If the caller is cancelled meanwhile, the thread itself gives the store back."""
        waiting = _Waiting()
        try:
            store = await asyncio.to_thread(waiting.open, self._path, self._read_only, self._options)
        except asyncio.CancelledError:
            waiting.give_up()
            raise
        return FerroKV(store, self._keyspace)


class _Waiting:
    """Whether somebody still waits for an opening, decided under a lock between its thread and its caller."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._gave_up = False
        self._store: Store | None = None

    def open(self, path: str | os.PathLike[str], read_only: bool, options: dict[str, object]) -> Store:
        store = open_store(path, options, read_only=read_only)
        with self._lock:
            self._store = store
            unwanted = self._gave_up
        if unwanted:
            release_store(store)
        return store

    def give_up(self) -> None:
        with self._lock:
            self._gave_up = True
            store = self._store
        if store is not None:
            threading.Thread(target=release_store, args=(store,), name="ferrokv-release").start()
