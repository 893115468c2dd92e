"""The handles: `FerroKV` for asyncio, in `api.py`, and `BlockingFerroKV` for threads, in `blocking.py`.

Methods, arguments and return values are those of redis-py's clients; most come from `faces/aio` or
`faces/blocking`. A handle may be used from any number of threads or event loops in the process.

For asyncio, no call blocks the event loop: whatever memory or the page cache can answer is answered
inline, and everything else runs on other threads. A `get` answered from memory does not yield to
the event loop; scans yield after each page. Cancelling a write stops the waiting, not the write.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar, Unpack

from ..contract.capabilities import EVERY_CAPABILITY, Capability
from ..contract.encoding import encode_keyspace
from ..errors import FerroKVError, ResponseError
from ..options import UNCHANGED, OpenOptions, Quota
from ..stats import BackupReport, Progress, Stats, VerifyReport
from .commands import keys
from .commands.collections import WRONG_TYPE
from .commands.locks import Owners
from .engine.wakeups import Kind
from .faces.aio.changes import AsyncWatching
from .faces.aio.hashes import AsyncHashWrites
from .faces.aio.keys import AsyncKeyWrites
from .faces.aio.lists import AsyncListWrites
from .faces.aio.locks import AsyncLocking
from .faces.aio.sets import AsyncSetWrites
from .faces.aio.snapshots import AsyncReads, Snapshot
from .faces.aio.sorted_sets import AsyncSortedSetWrites
from .faces.aio.strings import AsyncStringWrites
from .faces.reader import Reader
from .faces.unopened import OpenArguments
from .faces.waiting import Patience
from .log.transaction import Transaction
from .runtime.closed import ClosedStore
from .runtime.long_tasks import LongTask
from .runtime.registry import open_store, release_store, remember_snapshot, share_store
from .runtime.store import Store
from .runtime.waiters import WriterRequest
from .runtime.watch import AsyncWaiter

if True:  # ASYNC
    import asyncio

    from .faces.async_unopened import AsyncUnopened, Opening, arelease_store
    from .runtime.async_tasks import run_task
else:
    from .faces.unopened import Unopened

if TYPE_CHECKING:
    from ..contract.deferrals import Deferral as AnyDeferral
    from .faces.aio.deferred import DeferredCommands
    from .faces.aio.pipelines import Pipeline  # 13 ms to import, and few processes need them
    from .faces.deferral import Deferral
    from .faces.pipelines import Tx

P = ParamSpec("P")
T = TypeVar("T")


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
    """One keyspace of a store. Use it as a context manager, or `close` it.

    `await FerroKV.open(path)` opens the store now. `FerroKV(path)` makes a handle whose first use
    opens it.
    """

    __slots__ = ()

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        keyspace: str = "default",
        read_only: bool = False,
        max_bytes: Quota = UNCHANGED,
        **options: Unpack[OpenOptions],
    ) -> None:
        """Make a handle on a keyspace of the store in a directory. Its first use opens the store.

        No file is touched before that, and `open` says which errors opening can raise. Arguments
        are those of `open`; `max_bytes` is a quota to set once the store is open (`set_quota`). If
        the directory is removed or replaced, a call that is under way may raise `StoreReplaced`,
        and the next one opens what is there then.

        Any thread or event loop may use it first. For asyncio, methods that are not awaited, such
        as `snapshot`, raise `StoreClosed` before the first use; call `ready` first.
        """
        name = encode_keyspace(keyspace)
        arguments = OpenArguments.checked(path, read_only, options, max_bytes)
        if True:  # ASYNC
            unopened = AsyncUnopened(self, arguments, name)
        else:
            unopened = Unopened(self, arguments, name)
        super().__init__(unopened, name)
        self._unopened = unopened

    @classmethod
    def _on(cls, store: Store, keyspace: str) -> Self:
        """A handle on a store that is open, and was counted for it."""
        handle = cls.__new__(cls)
        Reader.__init__(handle, store, keyspace)
        return handle

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        keyspace: str = "default",
        read_only: bool = False,
        **options: Unpack[OpenOptions],
    ) -> Opening[FerroKV]:
        """Open the store in a directory and return a handle on one of its keyspaces.

        Both `db = await FerroKV.open(path)` and `async with FerroKV.open(path) as db:` work.
        The directory is created if it is missing; its parent must exist. Any number of processes
        may have the store open. `options` are the fields of `ferrokv.Options`. All handles of a
        process on a directory share one engine (read-only ones a second), so options must agree.

        With `read_only=True` nothing is written, locked or created, permission to read is enough,
        and writes raise `StoreReadOnly`.

        Raises `StorePathError`, `UnsupportedFormat` or `CorruptionError` if the directory cannot
        serve as a store, and `StoreBusy` if another process does not finish opening it within
        `busy_timeout`.
        """
        open_ = partial(open_store, path, options, read_only=read_only)
        make = partial(cls._on, keyspace=encode_keyspace(keyspace))
        if True:  # ASYNC
            return Opening(open_, make)
        else:
            return make(open_())

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What this backend has: everything that the contract names."""
        return EVERY_CAPABILITY

    async def ready(self) -> Self:
        """Open the store if this handle has not been used yet. Returns the handle."""
        if True:  # ASYNC
            await self._open_first()
        self._attended()
        return self

    async def close(self) -> None:
        """Close the handle; the last one finishes queued writes and closes the store. Idempotent."""
        store = self._take_store()
        if store is not None:
            if True:  # ASYNC
                await arelease_store(store)
            else:
                release_store(store)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    def keyspace(self, name: str) -> FerroKV:
        """Return a handle on another keyspace of the same store. Close it separately."""
        unopened = self._unopened
        if unopened is None or isinstance(self._store, ClosedStore):
            return FerroKV._on(share_store(self._store), encode_keyspace(name))
        arguments = unopened.arguments
        return FerroKV(arguments.path, keyspace=name, read_only=arguments.read_only, **arguments.options)

    def snapshot(self) -> Snapshot:
        """Return a read-only view of the keyspace as it is now. Close it when done.

        An open snapshot keeps replaced values in memory, and the tables that compaction replaces on
        disk, until it is closed or the process ends. On a `read_only` handle it opens all tables
        instead, and raises `StoreBusy` if there are not enough file descriptors.
        """
        snapshot = Snapshot(self._opened(), self._keyspace, self._pin())
        remember_snapshot(snapshot)
        return snapshot

    def pipeline(self, transaction: bool = True, shard_hint: None = None) -> Pipeline:
        """Return an empty pipeline; its commands run atomically, whatever `transaction` says."""
        from .faces.aio.pipelines import Pipeline

        return Pipeline(self)

    async def transaction(self, function: Callable[[Tx], T]) -> T:
        """Run `function(tx)` once on the newest state, and return its result.

        Everything it writes through `tx` is committed together with one sync, or discarded if it
        raises. Transactions are serializable across threads, event loops and processes. All writers
        wait while the function runs, possibly on another thread, so it must not await, block or use
        another handle.
        """
        from .faces.pipelines import check_function, run_function

        return await self._write(run_function, check_function(function))

    def deferral(self) -> Deferral:
        """Return a deferral, which makes many writes durable together with one sync.

        Use it as a context manager, and write through `within(deferral)`. Until the writes are
        durable, they are visible only through `within`, and are lost if the process ends.
        """
        from .faces.deferral import Deferral

        return Deferral(self._opened(), self._keyspace)

    def within(self, deferral: AnyDeferral, *, forgiving: bool = False) -> DeferredCommands:
        """Return this handle's commands inside a deferral: they do not wait for durability.

        The writes are durable once the deferral is settled. If writes of a `forgiving` handle that
        were collected in memory are lost, settling logs that instead of raising.
        """
        from .faces.aio.deferred import DeferredCommands
        from .faces.deferral import driver_of

        return DeferredCommands(driver_of(deferral, self._opened()), self, self._keyspace, forgiving)

    async def flush(self) -> bool:
        """Flush everything written so far to tables, and remove its WALs. Returns True."""
        return bool(await self._background("flush"))

    async def compact(self) -> bool:
        """Compact all data into one level, dropping deleted and long-expired keys. Returns True."""
        return bool(await self._background("compact"))

    def stats(self) -> Stats:
        """Return figures on the whole store. No data is read from disk."""
        return self._store.stats()

    async def verify(self, progress: Progress | None = None) -> VerifyReport:
        """Check the whole store, all keyspaces, by reading every byte from disk; returns a report.

        It checks CURRENT, the manifest, every table against itself and the manifest, and the WALs
        up to their durable end. Damage does not stop the check; `problems` lists all of it. Others
        can keep reading, writing and compacting; a table that they replace is kept until it has
        been checked.

        It takes about 10 µs per record, at background pace. `progress(done_bytes, total_bytes)` is
        called about once per MiB, in the calling thread or event loop; an exception that it raises
        ends the check.

        `StoreClosed` if the store is closed meanwhile, `StoreBusy` if two verifications or backups
        are already running, `UnsupportedFormat` if a newer version wrote part of the store.
        """
        if True:  # ASYNC
            await self.ready()
            return await run_task(self._store, progress, LongTask.verify)
        else:
            return LongTask(self._opened(), progress).verify()

    async def backup(self, target: str | os.PathLike[str], progress: Progress | None = None) -> BackupReport:
        """Copy the whole store, all keyspaces, as of one moment, to a new store in `target`.

        `target` must be missing or empty, and outside the store's own directory; it must pass the
        same checks as a directory to be opened. The copy is durable on return. If anything stops
        the backup, its files are removed; what a killed process leaves behind is not a store.

        Others can keep reading and writing. Deleted records, and records that expired long ago, are
        not copied. It takes about 10 µs per record, at background pace; tables replaced meanwhile
        keep their disk space until the end. `progress` is as in `verify`.

        `StorePathError` for a bad target, `StoreFull` if the target has no room, `StoreBusy` if
        somebody else uses the target or if two verifications or backups are already running,
        `CorruptionError` if damage was found, `StoreClosed` if the store is closed meanwhile.
        """
        if True:  # ASYNC
            await self.ready()
            return await run_task(self._store, progress, partial(LongTask.back_up, path=target))
        else:
            return LongTask(self._opened(), progress).back_up(target)

    async def _write(self, command: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        assert not kwargs
        request = WriterRequest(command, self._keyspace, args)
        answer: T
        if True:  # ASYNC
            answer = await self._submit(request)
        else:
            self._store.serve(request)
            answer = request.outcome()
        return answer

    def _write_unawaited(
        self, command: Callable[Concatenate[Transaction, P], object], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        with suppress(FerroKVError):
            self._store.owed_releases.add(command, self._keyspace, args)

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
                # Order: arm first, so that anything written after the check wakes this waiter.
                waiter.arm()
                if await self._query(keys.exists, names):
                    try:
                        answer = await self._write(command, *args, **kwargs)
                    except ResponseError as error:
                        # Like Redis, keep waiting if the key comes to hold another type.
                        if str(error) != WRONG_TYPE:
                            raise
                    if answer is not None:
                        if len(names) == 1:  # with several, it may be woken for one and take from another
                            waiter.take()
                        return answer
                if not await waiter.wait(patience.left):
                    return answer

    async def _owners(self) -> Owners:
        if True:  # ASYNC
            await self.ready()
        return self._identity()

    def _waiting(self, kind: Kind, names: list[bytes]) -> AsyncWaiter:
        return AsyncWaiter(self._opened().watch, kind, [(self._keyspace, name) for name in names], self)

    async def _background(self, job: str) -> Any:
        await self._submit(WriterRequest(None, self._keyspace, ()))  # have the writer seal the active memtable
        return await self._submit(WriterRequest(None, self._keyspace, (job,)), to_background=True)

    async def _submit(self, request: WriterRequest, *, to_background: bool = False) -> Any:
        if True:  # ASYNC
            await self._open_first()
            future = request.for_loop(asyncio.get_running_loop())
        else:
            lock = request.for_thread()
        if to_background:
            self._store.submit_background(request)
        else:
            self._store.submit(request)
        if True:  # ASYNC
            return await future
        else:
            lock.acquire()
            return request.outcome()
