"""The driver of a deferral: it feeds the ledger, and sends requests to the writer.

A web request that makes ten writes does not need ten syncs, only that all of them are durable
before its response leaves. So plain writes are collected in memory; a command that needs an answer
(INCR, SET NX, a transaction) is appended to the WAL without a sync, after everything collected
before it; and `settle` makes one sync cover it all. Readers see only what is durable, so until then
nobody else sees these writes and nothing is acknowledged: a group commit whose end the caller
chooses. What all this means for a read is the ledger's business (ledger.py).

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
from typing import Any, NamedTuple

from ....contract.encoding import Write, expiry_at
from ....errors import FerroKVError, StoreBusy, StoreClosed
from ...format.control import APPENDED, COMMIT
from ..store import Store
from ..waiters import REENTERED, WriterRequest
from .commands import run_deferred, wake
from .ledger import Asked, CollectedWrite, Ledger, NotKnown, Outcome


class Sent(NamedTuple):
    """A request of a deferral on its way, and what the ledger knows it by."""

    request: WriterRequest
    asked: Asked


class DeferralDriver:
    """What a deferral does for the commands within it. Threads and event loops may share it."""

    def __init__(self, store: Store, keyspace: str) -> None:
        self.store = store
        self._keyspace = keyspace
        self._pid = os.getpid()
        self._thread = get_ident()
        self._lock = RLock()  # owns everything below; never held across I/O
        self._ledger = Ledger(self._log)
        self._is_closed = False
        self._is_queueing = False  # True once another thread or an event loop uses it
        self._leads: Sent | None = None  # the request that its only thread is serving itself
        self._behind: list[Sent] = []  # requests that others made meanwhile

    @property
    def is_inherited(self) -> bool:
        """True in a forked child, which must not use it."""
        return os.getpid() != self._pid

    # -- writing -------------------------------------------------------------------------------------------------

    def collect(self, keyspace: str, writes: Iterable[Write], forgiving: bool) -> bool | None:
        """Collect plain writes. True: a command should follow now. None: closed, none collected."""
        self._check_own()
        now_ms = self.store.engine.clock()
        collected = {
            (keyspace, key): CollectedWrite(value, 0 if ttl_ms is None else expiry_at(now_ms, ttl_ms, "set"), forgiving)
            for key, value, ttl_ms in writes
        }
        with self._lock:
            if self._is_closed:
                return None
            return self._ledger.collect(collected, loss_matters=not forgiving)

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
            raise StoreBusy(REENTERED)
        try:
            sent = self._send(keyspace, command, args, forgiving, wants_sync=wants_sync)
            lock = sent.request.lock
            if isinstance(lock, LockType):
                lock.acquire()
            else:
                try:
                    self.store.serve(sent.request)
                finally:
                    self._stop_leading()
            return self._take_in(sent)
        except BaseException:  # a signal handler may raise anywhere above
            self._recover()
            raise

    async def aperform(
        self, keyspace: str, command: Callable[..., Any] | None, args: tuple[Any, ...], forgiving: bool = False
    ) -> Any:
        """As `perform`. After a cancellation, the next command or `settle` takes in the outcome."""
        loop = asyncio.get_running_loop()
        return await self._await(self._send(keyspace, command, args, forgiving, wants_sync=False, loop=loop))

    def perform_unawaited(self, keyspace: str, command: Callable[..., Any], args: tuple[Any, ...]) -> None:
        """Queue a command after all others, without waiting for it. Never raises."""
        self._is_queueing = True
        with suppress(FerroKVError):
            self._send(keyspace, command, args, True, wants_sync=False)

    def append(self) -> None:
        """See `Deferral.append`."""
        if self._ledger.fresh and not self.is_inherited:
            self.perform(self._keyspace, None, (), True)

    async def aappend(self) -> None:
        """See `Deferral.aappend`."""
        if self._ledger.fresh and not self.is_inherited:
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

    def begin_settling(self, loop: asyncio.AbstractEventLoop) -> Sent | None:
        """Queue all that `finish_settling` waits for; None if nothing is left. Never waits."""
        return None if self._is_settled() else self._send(self._keyspace, None, (), True, wants_sync=True, loop=loop)

    async def finish_settling(self, begun: Sent | None) -> None:
        """Complete `begin_settling`, as `Deferral.settle`. Cancelling stops only the waiting."""
        if begun is not None:
            try:
                await self._await(begun)
            except FerroKVError as error:
                self._tell(error)
            self._tell()

    def _send(
        self,
        keyspace: str,
        command: Callable[..., Any] | None,
        args: tuple[Any, ...],
        forgiving: bool,
        *,
        wants_sync: bool,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> Sent:
        """Queue a command after everything collected.

        The lock gives all users of the deferral one order.
        """
        self._check_own()
        mine = loop is None and get_ident() == self._thread
        ledger = self._ledger
        with self._lock:
            self._is_queueing |= not mine
            ledger.failures.loss_matters |= not forgiving
            request = WriterRequest(run_deferred, keyspace, (ledger.fresh, command, args))
            request.wants_sync = wants_sync or self._is_closed
            # A failure to be raised from now on belongs to the next settling: this one may not
            # cover it.
            loss_matters = wants_sync and ledger.failures.loss_matters
            sent = Sent(request, Asked(request, ledger.fresh, self.store.engine.words[COMMIT], loss_matters))
            if loop is not None:
                request.for_loop(loop)
            elif self._is_queueing:
                request.for_thread()
            try:
                ledger.ask(sent.asked, settles=wants_sync)
                # Order: queue before releasing the lock, so that later writes come later; but wait
                # behind what the first thread is serving itself.
                if self._leads is not None:
                    self._behind.append(sent)
                elif self._is_queueing:
                    self._submit(sent)
                else:
                    self._leads = sent
            except BaseException:
                self._give_up(sent.asked)
                raise
        return sent

    def _submit(self, sent: Sent) -> None:
        try:
            self.store.submit(sent.request)
        except FerroKVError as error:
            sent.request.error = error
            sent.request.is_done = True
            self._ledger.take_in(sent.asked)
            raise

    def _stop_leading(self) -> None:
        """Queue the requests that others made meanwhile.

        Safe to repeat if a signal handler raises in it.
        """
        with self._lock:
            while self._behind:
                sent = self._behind[0]
                try:
                    if not sent.request.since:  # otherwise it is already queued
                        self._submit(sent)
                except FerroKVError:  # the request itself tells its waiter
                    wake(sent.request)
                if self._behind and self._behind[0] is sent:
                    del self._behind[0]
            self._leads = None

    async def _await(self, sent: Sent) -> Any:
        future = sent.request.future
        assert future is not None
        try:
            await future
        except asyncio.CancelledError:
            raise
        except BaseException:
            with self._lock:
                self._ledger.take_in(sent.asked)
            raise
        return self._take_in(sent)

    def _take_in(self, sent: Sent) -> Any:
        """Take in a request's outcome, and return its answer or raise its error."""
        with self._lock:
            self._ledger.take_in(sent.asked)
        outcome = sent.request.outcome()
        if not isinstance(outcome, Outcome):
            return None
        if outcome.error is not None:
            raise outcome.error
        return outcome.answer

    def _log(self) -> tuple[int, int]:
        """Return COMMIT and APPENDED: how far the log is durable, and where it ends."""
        words = self.store.engine.words
        return words[COMMIT], words[APPENDED]

    # -- signal handlers that raise ------------------------------------------------------------------------------

    def _recover(self) -> None:
        """After an exception in the first thread: send others on, report what stays unanswered."""
        if get_ident() != self._thread:
            return
        with self._lock:
            if self._leads is not None:
                self._stop_leading()
            for asked in self._ledger.open_requests:
                request = asked.request
                assert isinstance(request, WriterRequest)
                if request.loop is None and not request.is_done and not request.since:
                    self._give_up(asked)

    def _give_up(self, asked: Asked) -> None:
        """Forget a request that will not be answered. Under the lock."""
        if not self._ledger.is_open(asked):
            return
        if self._leads is not None and self._leads.asked is asked:
            self._leads = None
        self._behind = [other for other in self._behind if other.asked is not asked]
        self._ledger.give_up(asked)

    # -- settling and reading ------------------------------------------------------------------------------------

    def _check_own(self) -> None:
        if self.is_inherited:
            raise StoreClosed("the deferral was begun by the parent of this process")

    def _is_settled(self) -> bool:
        """Return True if all of it is durable."""
        if self.is_inherited:
            return True
        with self._lock:
            return self._ledger.is_settled()

    def _tell(self, error: FerroKVError | None = None) -> None:
        with self._lock:
            self._ledger.take_in_answered()
        self._ledger.failures.tell(error)

    def find(self, keyspace: str, key: bytes) -> bytes | NotKnown | None:
        """Return a key's value, None if it was deleted or has expired, or what else to do."""
        with self._lock:
            found = self._ledger.find(keyspace, key)
        if isinstance(found, NotKnown):
            return found
        value, expires_ms = found
        return None if expires_ms and expires_ms <= self.store.engine.clock() else value

    def sees_only_durable(self, keyspace: str, keys: Iterable[bytes] | None) -> bool:
        """Return True if a read of these keys sees only durable writes; `keys` is None for any."""
        with self._lock:
            return self._ledger.sees_only_durable(keyspace, keys)
