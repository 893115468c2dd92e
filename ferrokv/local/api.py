"""`FerroKV`: the asyncio face. Its twin for threads is `blocking.BlockingFerroKV`; a test keeps the two equal.

Methods, arguments and answers are those of redis-py's asyncio client; most come from `faces/aio`. No call blocks the event loop:
what memory or the page cache can answer is answered inline, everything else happens on other threads. A `get` that memory answers
does not yield to the loop; scans yield after each page. Cancelling a write stops the waiting, not the write. Handles may be used
from any number of event loops of the process.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Generator
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar, Unpack

from ..errors import FerroKVError, ResponseError, StorePathError
from ..options import OpenOptions
from ..stats import BackupReport, Stats, VerifyReport
from .commands import keys
from .commands.collections import WRONG_TYPE
from .commands.encoding import Key, encode_keyspace
from .engine.engine import named
from .engine.wakeups import Kind
from .faces.aio.changes import AsyncWatching
from .faces.aio.hashes import AsyncHashReads, AsyncHashWrites
from .faces.aio.keys import AsyncKeyReads, AsyncKeyWrites
from .faces.aio.lists import AsyncListReads, AsyncListWrites
from .faces.aio.locks import AsyncLocking
from .faces.aio.scans import AsyncScans
from .faces.aio.sets import AsyncSetReads, AsyncSetWrites
from .faces.aio.sorted_sets import AsyncSortedSetReads, AsyncSortedSetWrites
from .faces.aio.strings import AsyncStringReads, AsyncStringWrites
from .faces.waiting import Patience
from .log.transaction import Transaction
from .runtime.async_tasks import run_task
from .runtime.long_tasks import LongTask
from .runtime.registry import open_store, release_store, remember_snapshot, share_store
from .runtime.store import ClosedStore, Store
from .runtime.threads import may_run
from .runtime.waiters import Request
from .runtime.watch import AsyncWaiter
from .storage.adrivers import acomplete
from .storage.requests import Op
from .tree.records import Records

if TYPE_CHECKING:
    from .faces.aio.deferred import DeferredCommands
    from .faces.deferral import Deferral
    from .faces.pipelines import Pipeline, Tx  # 13 ms to import, and few processes need them
    from .upkeep.meter import Progress

P = ParamSpec("P")
T = TypeVar("T")


class AsyncReads(
    AsyncScans,
    AsyncKeyReads,
    AsyncStringReads,
    AsyncListReads,
    AsyncHashReads,
    AsyncSetReads,
    AsyncSortedSetReads,
):
    """The commands that only read."""

    __slots__ = ()

    async def get(self, name: Key) -> bytes | None:
        """The value, or None. At most one block read per level when memory does not have it."""
        found = self._probe(name)
        if found is None or found.__class__ is bytes:
            return found
        return await self._read(self._finish_get(found))

    async def _read(self, op: Op[T]) -> T:
        storage = self._attended().storage
        try:
            return await acomplete(op, storage, self._store.pool)
        except StorePathError:
            raise
        except OSError as error:
            raise named(error, "reading") from error

    async def _query(self, command: Callable[Concatenate[Records, P], Op[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._read(self._ask(command, *args, **kwargs))


class FerroKV(
    AsyncReads,
    AsyncKeyWrites,
    AsyncStringWrites,
    AsyncListWrites,
    AsyncHashWrites,
    AsyncSetWrites,
    AsyncSortedSetWrites,
    AsyncLocking,
    AsyncWatching,
):
    """One keyspace of a store. Make it with `open`; use it as a context manager, or call `close`."""

    __slots__ = ()

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        keyspace: str = "default",
        read_only: bool = False,
        **options: Unpack[OpenOptions],
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
        if store is not None and not may_run():
            release_store(store)
        elif store is not None:
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
        """The keyspace as it is now, to read from; close it, for it keeps replaced versions alive.

        On disk it keeps the tables that compactions replace, until it is closed or the process ends. A `read_only` handle opens all
        tables instead: `StoreBusy` when there are not enough descriptors.
        """
        snapshot = Snapshot(self._store, self._keyspace, self._pin())
        remember_snapshot(snapshot)
        return snapshot

    def pipeline(self, transaction: bool = True, shard_hint: None = None) -> Pipeline:
        """An empty pipeline. What it gathers is run as one, with or without `transaction`."""
        from .faces.pipelines import Pipeline

        return Pipeline(self)

    async def transaction(self, function: Callable[[Tx], T]) -> T:
        """What `function(tx)` returns, run once on the newest state: all that it wrote through `tx`, or nothing if it raises.

        Serializable across threads, event loops and processes; one sync. All writers wait while the function runs, perhaps on
        another thread: so it neither awaits nor blocks, and uses no other handle.
        """
        from .faces.pipelines import check_function, run_function

        return await self._write(run_function, check_function(function))

    def deferral(self) -> Deferral:
        """A deferral for writes that need to be durable together, at the price of one sync: `with` or `async with` it.

        Its writes are seen through `within`, by nobody else before they are durable, and are lost if the process ends before.
        """
        from .faces.deferral import Deferral

        return Deferral(self._store, self._keyspace)

    def within(self, deferral: Deferral, *, forgiving: bool = False) -> DeferredCommands:
        """The commands of this handle, which answer before what they write is durable; it is once the deferral is settled.

        If gathered writes of `forgiving` ones are lost, settling logs it and does not raise.
        """
        from .faces.aio.deferred import DeferredCommands

        return DeferredCommands(deferral.unsettled(self._store), self, self._keyspace, forgiving)

    async def flush(self) -> bool:
        """True. What was written before is in tables, and its WALs are gone."""
        return bool(await self._background("flush"))

    async def compact(self) -> bool:
        """True. What was written before is in one level of tables, without what is deleted or long expired."""
        return bool(await self._background("compact"))

    def stats(self) -> Stats:
        """Numbers on the whole store, from memory."""
        return self._store.stats()

    async def verify(self, progress: Progress | None = None) -> VerifyReport:
        """What a check of the whole store, all keyspaces, found: each byte of it is read from the disk, at a background pace.

        CURRENT, the manifest, every table against itself and the manifest, and the WALs up to where they are durable. Damage does
        not end it: `problems` has it all. Others go on reading, writing and compacting; a table that they replace is kept until it
        is checked. About 10 µs a record. `progress(done_bytes, total_bytes)` is called about each MiB, in the calling thread or
        event loop; what it raises ends the work. `StoreClosed` when the store is closed meanwhile, `StoreBusy` when two such
        works are under way, `UnsupportedFormat` when a newer version wrote a part.
        """
        return await run_task(self._store, progress, LongTask.verify)

    async def backup(self, target: str | os.PathLike[str], progress: Progress | None = None) -> BackupReport:
        """A copy of the whole store, all keyspaces, as it is at one moment: a store of its own in the directory `target`.

        The directory is made, or empty, and outside of the store's own; it is checked as one to be opened is. Others go on reading
        and writing meanwhile. The copy is durable when this returns; if anything ends it early, what was written is removed, and
        what a killed process leaves is no store. What is deleted or expired for long is left out. About 10 µs a record, at a
        background pace; the disk space of tables that are replaced meanwhile is free only at the end. `progress` is as in
        `verify`. `StorePathError` for the target, `StoreFull` when it has no room, `StoreBusy` when somebody is at it or two such
        works are under way, `CorruptionError` for damage that was met, `StoreClosed` when the store is closed meanwhile.
        """
        return await run_task(self._store, progress, partial(LongTask.back_up, path=target))

    async def _write(self, command: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        assert not kwargs
        return await self._submit(Request(command, self._keyspace, args))  # type: ignore[no-any-return]

    def _write_unawaited(
        self, command: Callable[Concatenate[Transaction, P], object], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        with suppress(FerroKVError):
            self._store.owed.owe(command, self._keyspace, args)

    async def _wait_for(
        self,
        timeout: float | None,
        names: list[bytes],
        command: Callable[Concatenate[Transaction, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        patience = Patience(timeout)
        answer = await self._write(command, *args, **kwargs)
        if answer is not None:
            return answer
        with self._waiting("elements", names) as waiter:
            while True:
                # Order: armed before the look, so that what comes behind the look wakes.
                waiter.arm()
                if await self._query(keys.exists, names):
                    try:
                        answer = await self._write(command, *args, **kwargs)
                    except ResponseError as error:
                        # Redis, too, goes on waiting when something else comes to stand there.
                        if str(error) != WRONG_TYPE:
                            raise
                    if answer is not None:
                        if len(names) == 1:  # else it may be woken for one list, and have taken from another
                            waiter.take()
                        return answer
                if not await waiter.wait(patience.left):
                    return answer

    def _waiting(self, kind: Kind, names: list[bytes]) -> AsyncWaiter:
        return AsyncWaiter(self._store.watch, kind, [(self._keyspace, name) for name in names], self)

    async def _background(self, job: str) -> Any:
        await self._submit(Request(None, self._keyspace, ()))  # have the writer seal the active memtable
        request = Request(None, self._keyspace, (job,))
        future = request.for_loop(asyncio.get_running_loop())
        self._store.submit_background(request)
        return await future

    async def _submit(self, request: Request) -> Any:
        future = request.for_loop(asyncio.get_running_loop())
        self._store.submit(request)
        return await future


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

    def __init__(self, path: str | os.PathLike[str], keyspace: str, read_only: bool, options: OpenOptions) -> None:
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
        if not may_run():
            return FerroKV(waiting.open(self._path, self._read_only, self._options), self._keyspace)
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

    def open(self, path: str | os.PathLike[str], read_only: bool, options: OpenOptions) -> Store:
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
