"""`BlockingFerroKV`: the face for threads. Its twin for asyncio is `api.FerroKV`; a test keeps the two equal.

Methods, arguments and answers are those of redis-py's client; most come from `faces/blocking`. Handles may be used from any number
of threads.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
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
from .faces.blocking.changes import BlockingWatching
from .faces.blocking.hashes import BlockingHashReads, BlockingHashWrites
from .faces.blocking.keys import BlockingKeyReads, BlockingKeyWrites
from .faces.blocking.lists import BlockingListReads, BlockingListWrites
from .faces.blocking.locks import BlockingLocking
from .faces.blocking.scans import BlockingScans
from .faces.blocking.sets import BlockingSetReads, BlockingSetWrites
from .faces.blocking.sorted_sets import BlockingSortedSetReads, BlockingSortedSetWrites
from .faces.blocking.strings import BlockingStringReads, BlockingStringWrites
from .faces.waiting import Patience
from .log.transaction import Transaction
from .runtime.long_tasks import LongTask
from .runtime.registry import open_store, release_store, remember_snapshot, share_store
from .runtime.store import ClosedStore
from .runtime.waiters import Request
from .runtime.watch import BlockingWaiter
from .storage.drivers import complete
from .storage.requests import Op
from .tree.records import Records

if TYPE_CHECKING:
    from .faces.blocking.deferred import BlockingDeferredCommands
    from .faces.deferral import Deferral
    from .faces.pipelines import BlockingPipeline, Tx  # 13 ms to import, and few processes need them
    from .upkeep.meter import Progress

P = ParamSpec("P")
T = TypeVar("T")


class BlockingReads(
    BlockingScans,
    BlockingKeyReads,
    BlockingStringReads,
    BlockingListReads,
    BlockingHashReads,
    BlockingSetReads,
    BlockingSortedSetReads,
):
    """The commands that only read."""

    __slots__ = ()

    def get(self, name: Key) -> bytes | None:
        """The value, or None. At most one block read per level when memory does not have it."""
        found = self._probe(name)
        if found is None or found.__class__ is bytes:
            return found
        return self._read(self._finish_get(found))

    def _read(self, op: Op[T]) -> T:
        storage = self._attended().storage
        try:
            return complete(op, storage)
        except StorePathError:
            raise
        except OSError as error:
            raise named(error, "reading") from error

    def _query(self, command: Callable[Concatenate[Records, P], Op[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        return self._read(self._ask(command, *args, **kwargs))


class BlockingFerroKV(
    BlockingReads,
    BlockingKeyWrites,
    BlockingStringWrites,
    BlockingListWrites,
    BlockingHashWrites,
    BlockingSetWrites,
    BlockingSortedSetWrites,
    BlockingLocking,
    BlockingWatching,
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
        """The keyspace as it is now, to read from; close it, for it keeps replaced versions alive.

        On disk it keeps the tables that compactions replace, until it is closed or the process ends. A `read_only` handle opens all
        tables instead: `StoreBusy` when there are not enough descriptors.
        """
        snapshot = BlockingSnapshot(self._store, self._keyspace, self._pin())
        remember_snapshot(snapshot)
        return snapshot

    def pipeline(self, transaction: bool = True, shard_hint: None = None) -> BlockingPipeline:
        """An empty pipeline. What it gathers is run as one, with or without `transaction`."""
        from .faces.pipelines import BlockingPipeline

        return BlockingPipeline(self)

    def transaction(self, function: Callable[[Tx], T]) -> T:
        """What `function(tx)` returns, run once on the newest state: all that it wrote through `tx`, or nothing if it raises.

        Serializable across threads, event loops and processes; one sync. All writers wait while the function runs, perhaps on
        another thread: so it neither awaits nor blocks, and uses no other handle.
        """
        from .faces.pipelines import check_function, run_function

        return self._write(run_function, check_function(function))

    def deferral(self) -> Deferral:
        """A deferral for writes that need to be durable together, at the price of one sync: `with` or `async with` it.

        Its writes are seen through `within`, by nobody else before they are durable, and are lost if the process ends before.
        """
        from .faces.deferral import Deferral

        return Deferral(self._store, self._keyspace)

    def within(self, deferral: Deferral, *, forgiving: bool = False) -> BlockingDeferredCommands:
        """The commands of this handle, which answer before what they write is durable; it is once the deferral is settled.

        If gathered writes of `forgiving` ones are lost, settling logs it and does not raise.
        """
        from .faces.blocking.deferred import BlockingDeferredCommands

        return BlockingDeferredCommands(deferral.unsettled(self._store), self, self._keyspace, forgiving)

    def flush(self) -> bool:
        """True. What was written before is in tables, and its WALs are gone."""
        return bool(self._background("flush"))

    def compact(self) -> bool:
        """True. What was written before is in one level of tables, without what is deleted or long expired."""
        return bool(self._background("compact"))

    def stats(self) -> Stats:
        """Numbers on the whole store, from memory."""
        return self._store.stats()

    def verify(self, progress: Progress | None = None) -> VerifyReport:
        """What a check of the whole store, all keyspaces, found: each byte of it is read from the disk, at a background pace.

        CURRENT, the manifest, every table against itself and the manifest, and the WALs up to where they are durable. Damage does
        not end it: `problems` has it all. Others go on reading, writing and compacting; a table that they replace is kept until it
        is checked. About 10 µs a record. `progress(done_bytes, total_bytes)` is called about each MiB, in the calling thread or
        event loop; what it raises ends the work. `StoreClosed` when the store is closed meanwhile, `StoreBusy` when two such
        works are under way, `UnsupportedFormat` when a newer version wrote a part.
        """
        return LongTask(self._store, progress).verify()

    def backup(self, target: str | os.PathLike[str], progress: Progress | None = None) -> BackupReport:
        """A copy of the whole store, all keyspaces, as it is at one moment: a store of its own in the directory `target`.

        The directory is made, or empty, and outside of the store's own; it is checked as one to be opened is. Others go on reading
        and writing meanwhile. The copy is durable when this returns; if anything ends it early, what was written is removed, and
        what a killed process leaves is no store. What is deleted or expired for long is left out. About 10 µs a record, at a
        background pace; the disk space of tables that are replaced meanwhile is free only at the end. `progress` is as in
        `verify`. `StorePathError` for the target, `StoreFull` when it has no room, `StoreBusy` when somebody is at it or two such
        works are under way, `CorruptionError` for damage that was met, `StoreClosed` when the store is closed meanwhile.
        """
        return LongTask(self._store, progress).back_up(target)

    def _write(self, command: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        assert not kwargs
        request = Request(command, self._keyspace, args)
        self._store.serve(request)
        return request.outcome()  # type: ignore[no-any-return]

    def _write_unawaited(
        self, command: Callable[Concatenate[Transaction, P], object], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        with suppress(FerroKVError):
            self._store.owed.owe(command, self._keyspace, args)

    def _wait_for(
        self,
        timeout: float | None,
        names: list[bytes],
        command: Callable[Concatenate[Transaction, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        patience = Patience(timeout)
        answer = self._write(command, *args, **kwargs)
        if answer is not None:
            return answer
        with self._waiting("elements", names) as waiter:
            while True:
                # Order: armed before the look, so that what comes behind the look wakes.
                waiter.arm()
                if self._query(keys.exists, names):
                    try:
                        answer = self._write(command, *args, **kwargs)
                    except ResponseError as error:
                        # Redis, too, goes on waiting when something else comes to stand there.
                        if str(error) != WRONG_TYPE:
                            raise
                    if answer is not None:
                        if len(names) == 1:  # else it may be woken for one list, and have taken from another
                            waiter.take()
                        return answer
                if not waiter.wait(patience.left):
                    return answer

    def _waiting(self, kind: Kind, names: list[bytes]) -> BlockingWaiter:
        return BlockingWaiter(self._store.watch, kind, [(self._keyspace, name) for name in names], self)

    def _background(self, job: str) -> Any:
        seal = Request(None, self._keyspace, ())  # have the writer seal the active memtable
        self._submit(seal, self._store.submit)
        return self._submit(Request(None, self._keyspace, (job,)), self._store.submit_background)

    def _submit(self, request: Request, submit: Callable[[Request], None]) -> Any:
        lock = request.for_thread()
        submit(request)
        lock.acquire()
        return request.outcome()


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
