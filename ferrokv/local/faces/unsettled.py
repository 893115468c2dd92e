"""The protocol behind a deferral: many writes by one caller, and one wait for durability.

A web request that makes ten writes does not need ten syncs, only that all of them are durable
before its response leaves. So plain writes are collected in memory; a command that needs an answer
(INCR, SET NX, a transaction) is appended to the WAL without a sync, after everything collected
before it; and `settle` makes one sync cover it all. Readers see only what is durable, so until then
nobody else sees these writes and nothing is acknowledged: a group commit whose end the caller
chooses.

An answer may depend on what *others* have appended but not synced, such as a refused SET NX. So
`settle` waits for the end of the WAL as the last command saw it, even if that wrote nothing, and
reads of keys that were written or seen undurable run as transactions. The value of a key that the
deferral wrote itself is known, as long as nobody else's commit became durable since.

While only one thread uses the deferral, it leads: it writes in that thread if nobody else is
writing. Once other threads or event loops join, all commands go through the writer's queue, in the
order in which they took the lock.
"""

from __future__ import annotations

import asyncio
import os
from _thread import LockType
from collections.abc import Callable, Iterable
from contextlib import suppress
from threading import RLock, get_ident
from typing import Any, Final

from ...contract.encoding import Write, expiry_at
from ...errors import FerroKVError, StoreBusy, StoreClosed, StoreUncertain
from ..commands.touched import keys_read
from ..format.control import APPENDED, COMMIT, is_reached
from ..runtime.store import Store
from ..runtime.waiters import Request
from .failures import INTERRUPTED, Failures
from .outcomes import Asked, Entry, Name, Outcome, run_deferred, wake

GATHERED_RECORDS_MAX: Final = 1_000
GATHERED_BYTES_MAX: Final = 1 << 20
UNKNOWN: Final = object()


class Unsettled:
    """What a deferral has written and not yet waited for. Threads and event loops may share it."""

    def __init__(self, store: Store, keyspace: str) -> None:
        self.store = store
        self._keyspace = keyspace
        self._pid = os.getpid()
        self._thread = get_ident()
        self._lock = RLock()  # owns everything below; never held across I/O
        self._is_closed = False
        self._is_queueing = False  # True once another thread or an event loop uses it
        self._leads: Asked | None = None  # the request that its only thread is serving itself
        self._behind: list[Asked] = []  # requests that others made meanwhile
        self._gathered: dict[Name, Entry] = {}  # collected writes not covered by an answered request
        self._fresh: dict[Name, Entry] = {}  # those of them not taken along by any request
        self._fresh_bytes = 0
        self._asked: list[Asked] = []  # requests whose outcome has not been taken in, in order
        self._touched: set[bytes] = set()  # internal keys written or seen that may not be durable
        # What this deferral wrote to those keys; valid while COMMIT is `_commit`.
        self._known: dict[bytes, Any] = {}
        self._commit = 0
        self._prefixes: dict[str, bytes] = {}  # keyspace prefixes, as of the newest outcome
        self._all_touched = False  # a keyspace was cleared or created
        self._target = 0  # WAL position after everything written or seen; 0 if all of it is durable
        self._failures = Failures()

    @property
    def is_inherited(self) -> bool:
        """True in a forked child, which must not use it."""
        return os.getpid() != self._pid

    # -- writing -------------------------------------------------------------------------------------------------

    def gather(self, keyspace: str, writes: Iterable[Write], forgiving: bool) -> bool | None:
        """Collect plain writes. True: a command should follow now. None: closed, none collected."""
        self._check_own()
        now_ms = self.store.engine.clock()
        entries = {
            (keyspace, key): Entry(value, 0 if ttl_ms is None else expiry_at(now_ms, ttl_ms, "set"), forgiving)
            for key, value, ttl_ms in writes
        }
        with self._lock:
            if self._is_closed:
                return None
            # Order: if a signal interrupts here, a write that is only in `_gathered` would be read
            # but never written.
            self._fresh.update(entries)
            self._gathered.update(entries)
            self._fresh_bytes += sum(len(key) + len(entry.value or b"") for (_, key), entry in entries.items())
            self._failures.is_minded |= not forgiving
        return len(self._fresh) >= GATHERED_RECORDS_MAX or self._fresh_bytes >= GATHERED_BYTES_MAX

    def perform(
        self,
        keyspace: str,
        command: Callable[..., Any] | None,
        args: tuple[Any, ...],
        forgiving: bool = False,
        *,
        wants_sync: bool = False,
    ) -> Any:
        """Run a command. A deferral used by one thread writes in it if nobody else is writing."""
        if self._leads is not None and get_ident() == self._thread:
            raise StoreBusy("a signal handler or destructor cannot write in the middle of its own thread's write")
        try:
            asked = self._ask(keyspace, command, args, forgiving, wants_sync=wants_sync)
            lock = asked.request.lock
            if isinstance(lock, LockType):
                lock.acquire()
            else:
                try:
                    self.store.serve(asked.request)
                finally:
                    self._stop_leading()
            return self._note(asked)
        except BaseException:  # a signal handler may raise anywhere above
            self._recover()
            raise

    async def aperform(
        self, keyspace: str, command: Callable[..., Any] | None, args: tuple[Any, ...], forgiving: bool = False
    ) -> Any:
        """As `perform`. After a cancellation, the next command or `settle` takes in the outcome."""
        loop = asyncio.get_running_loop()
        return await self._await(self._ask(keyspace, command, args, forgiving, wants_sync=False, loop=loop))

    def perform_unawaited(self, keyspace: str, command: Callable[..., Any], args: tuple[Any, ...]) -> None:
        """Queue a command after all others, without waiting for it. Never raises."""
        self._is_queueing = True
        with suppress(FerroKVError):
            self._ask(keyspace, command, args, True, wants_sync=False)

    def append(self) -> None:
        """See `Deferral.append`."""
        if self._fresh and not self.is_inherited:
            self.perform(self._keyspace, None, (), True)

    async def aappend(self) -> None:
        """See `Deferral.aappend`."""
        if self._fresh and not self.is_inherited:
            await self.aperform(self._keyspace, None, (), True)

    def close(self) -> None:
        """Stop collecting. From now on a command is durable when it is answered."""
        with self._lock:
            self._is_closed = True

    def settle(self) -> None:
        """See `Deferral.settle`."""
        if not self._is_settled():
            try:
                self.perform(self._keyspace, None, (), True, wants_sync=True)
            except FerroKVError as error:
                self._tell(error)
            self._tell()

    def begin_settling(self, loop: asyncio.AbstractEventLoop) -> Asked | None:
        """Queue all that `finish_settling` waits for; None if nothing is left. Never waits."""
        return None if self._is_settled() else self._ask(self._keyspace, None, (), True, wants_sync=True, loop=loop)

    async def finish_settling(self, begun: Asked | None) -> None:
        """Complete `begin_settling`, as `Deferral.settle`. Cancelling stops only the waiting."""
        if begun is not None:
            try:
                await self._await(begun)
            except FerroKVError as error:
                self._tell(error)
            self._tell()

    def _ask(
        self,
        keyspace: str,
        command: Callable[..., Any] | None,
        args: tuple[Any, ...],
        forgiving: bool,
        *,
        wants_sync: bool,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> Asked:
        """Queue a command after everything collected.

        The lock gives all users of the deferral one order.
        """
        self._check_own()
        mine = loop is None and get_ident() == self._thread
        with self._lock:
            self._is_queueing |= not mine
            self._failures.is_minded |= not forgiving
            taken = self._fresh
            request = Request(run_deferred, keyspace, (taken, command, args))
            request.wants_sync = wants_sync or self._is_closed
            # A failure to be raised from now on belongs to the next settling: this one may not
            # cover it.
            asked = Asked(request, taken, self.store.engine.words[COMMIT], wants_sync and self._failures.is_minded)
            if loop is not None:
                request.for_loop(loop)
            elif self._is_queueing:
                request.for_thread()
            try:
                self._asked.append(asked)
                if wants_sync:
                    self._failures.is_minded = False
                self._fresh, self._fresh_bytes = {}, 0
                # Order: queue before releasing the lock, so that later writes come later; but wait
                # behind what the first thread is serving itself.
                if self._leads is not None:
                    self._behind.append(asked)
                elif self._is_queueing:
                    self._submit(asked)
                else:
                    self._leads = asked
            except BaseException:
                self._give_up(asked)
                raise
        return asked

    def _submit(self, asked: Asked) -> None:
        try:
            self.store.submit(asked.request)
        except FerroKVError as error:
            asked.request.error = error
            asked.request.is_done = True
            self._take_in(asked)
            raise

    def _stop_leading(self) -> None:
        """Queue the requests that others made meanwhile.

        Safe to repeat if a signal handler raises in it.
        """
        with self._lock:
            while self._behind:
                asked = self._behind[0]
                try:
                    if not asked.request.since:  # otherwise it is already queued
                        self._submit(asked)
                except FerroKVError:  # the request itself tells its waiter
                    wake(asked.request)
                if self._behind and self._behind[0] is asked:
                    del self._behind[0]
            self._leads = None

    async def _await(self, asked: Asked) -> Any:
        future = asked.request.future
        assert future is not None
        try:
            await future
        except asyncio.CancelledError:
            raise
        except BaseException:
            self._note(asked, raises=False)
            raise
        return self._note(asked)

    # -- signal handlers that raise ------------------------------------------------------------------------------

    def _recover(self) -> None:
        """After an exception in the first thread: send others on, report what stays unanswered."""
        if get_ident() != self._thread:
            return
        with self._lock:
            if self._leads is not None:
                self._stop_leading()
            for asked in list(self._asked):
                if asked.request.loop is None and not asked.request.is_done and not asked.request.since:
                    self._give_up(asked)

    def _give_up(self, asked: Asked) -> None:
        """Forget a request. Its outcome is unknown, unless it took nothing along. Under the lock."""
        if not any(other is asked for other in self._asked):
            return
        if self._leads is asked:
            self._leads = None
        self._behind = [other for other in self._behind if other is not asked]
        if asked.minded or self._fresh is not asked.taken:
            self._failures.keep(asked, StoreUncertain(INTERRUPTED))
        if self._fresh is not asked.taken:
            self._forget(asked)
        self._asked = [other for other in self._asked if other is not asked]

    # -- outcomes ------------------------------------------------------------------------------------------------

    def _note(self, asked: Asked, *, raises: bool = True) -> Any:
        """Take in a request's outcome, after those of callers that left, and return its answer."""
        with self._lock:
            self._note_answered()
            if any(other is asked for other in self._asked):
                self._take_in(asked)
        request = asked.request
        error = request.error or (request.answer.error if isinstance(request.answer, Outcome) else None)
        if error is not None and raises:
            raise error
        return request.answer.answer if error is None else None

    def _note_answered(self) -> None:
        """Take in outcomes that have arrived, even if their callers left. Called under the lock."""
        while self._asked and self._asked[0].request.is_done:
            self._take_in(self._asked[0])

    def _take_in(self, asked: Asked) -> None:
        """Update the state from an outcome. Called under the lock."""
        self._forget(asked)
        request = asked.request
        if request.error is not None:
            self._failures.keep(asked, request.error)
        elif isinstance(request.answer, Outcome):
            self._learn(asked, request.answer)
        # Order: last, so that a step interrupted by a signal handler is repeated.
        self._asked = [other for other in self._asked if other is not asked]

    def _forget(self, asked: Asked) -> None:
        for name, entry in asked.taken.items():
            if self._gathered.get(name) is entry:
                del self._gathered[name]

    def _learn(self, asked: Asked, outcome: Outcome) -> None:
        words = self.store.engine.words
        commit = words[COMMIT]
        self._is_unsynced()  # forget what is durable, even if this deferral is never settled
        self._target = words[APPENDED]
        if commit != asked.commit or (self._commit != commit and self._known):
            self._known = {}  # another commit became durable meanwhile, and may have changed the same keys
        if commit == asked.commit:
            self._known.update(outcome.changes)
        self._commit = commit
        self._touched.update(outcome.changes)
        self._touched |= outcome.seen
        self._all_touched |= outcome.remade
        self._prefixes = outcome.prefixes

    # -- settling ------------------------------------------------------------------------------------------------

    def _check_own(self) -> None:
        if self.is_inherited:
            raise StoreClosed("the deferral was begun by the parent of this process")

    def _is_settled(self) -> bool:
        """True if nothing is left to wait for, or another sync has covered all of it."""
        if self.is_inherited:
            return True
        with self._lock:
            self._failures.forget_told()
            self._note_answered()
            if self._fresh or self._asked or self._failures.is_kept or self._is_unsynced():
                return False
            self._failures.is_minded = False
            return True

    def _is_unsynced(self) -> bool:
        """True if something written or seen may not be durable. Forgets what is. Under the lock."""
        if not self._target:
            return False
        if is_reached(self.store.engine.words[COMMIT], self._target):
            self._touched, self._known, self._all_touched, self._target = set(), {}, False, 0
            return False
        return True

    def _tell(self, error: FerroKVError | None = None) -> None:
        with self._lock:
            self._note_answered()
        self._failures.tell(error)

    # -- reading -------------------------------------------------------------------------------------------------

    def find(self, keyspace: str, key: bytes) -> object:
        """What it knows of a key: bytes, None (deleted or expired), UNKNOWN, or False (not met)."""
        with self._lock:
            if self._asked:
                self._note_answered()
            entry: Any = self._gathered.get((keyspace, key))
            if entry is None:
                if not self._is_unsynced():
                    return False
                prefix = self._prefixes.get(keyspace)
                name = key if prefix is None else prefix + key
                if not self._all_touched and (prefix is None or name not in self._touched):
                    return False
                if self._commit != self.store.engine.words[COMMIT]:
                    return UNKNOWN
                entry = self._known.get(name)
        if entry is None or not (entry[0] is None or entry[0].__class__ is bytes):
            return UNKNOWN
        return None if entry[1] and entry[1] <= self.store.engine.clock() else entry[0]

    def is_apart(self, keyspace: str, command: Callable[..., Any], args: tuple[Any, ...]) -> bool:
        """True if the command cannot see any undurable write that this deferral made or saw."""
        with self._lock:
            if not self._gathered and not self._asked and not self._is_unsynced():
                return True
        touched = keys_read(command, args)
        return touched is not None and all(self.find(keyspace, key) is False for key in touched)
