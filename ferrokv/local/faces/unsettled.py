"""What a deferral is made of: many writes of one caller, each answered at once, and one wait for all of them to be durable.

A web request that writes ten times does not need ten syncs, only that all is durable before its response leaves. So a deferral
gathers plain writes; what has an answer (INCR, SET NX, a transaction) is run and appended to the WAL without a sync, together with
what was gathered before it; and `settle` has one sync cover everything. Until then nobody else sees any of it, for readers see
only what is durable, and nothing is acknowledged: this is a group commit whose end the caller chooses.

Answers tell of what is appended, by whomever. So `settle` also waits for what its commands may have *seen*, even if they wrote
nothing, and reads behind them see it, too: those of keys that were appended and not durable run as transactions. Of keys that it
wrote itself a deferral knows the value, as long as nobody else's commit became durable since.
"""

from __future__ import annotations

import asyncio
import os
from _thread import LockType
from collections.abc import Callable, Iterable
from contextlib import suppress
from threading import RLock, get_ident
from typing import Any, Final

from ...errors import FerroKVError, StoreBusy, StoreClosed, StoreUncertain
from ..commands import expiry, keys, strings
from ..commands.encoding import expiry_at
from ..commands.strings import Write
from ..format.control import APPENDED, COMMIT, is_reached
from ..runtime.store import Store
from ..runtime.waiters import Request
from .failures import INTERRUPTED, Failures
from .outcomes import Asked, Entry, Name, Outcome, run_deferred, wake

GATHERED_RECORDS_MAX: Final = 1_000
GATHERED_BYTES_MAX: Final = 1 << 20
# Commands whose first argument names all keys that they read.
_ONE_KEY: Final = frozenset({strings.get, expiry.ttl, expiry.pttl, expiry.expiretime, expiry.pexpiretime})
_MANY_KEYS: Final = frozenset({strings.get_many, keys.exists})
UNKNOWN: Final = object()


class Unsettled:
    """What a deferral has written and not yet waited for. Threads and event loops may share it."""

    def __init__(self, store: Store, keyspace: str) -> None:
        self.store = store
        self._keyspace = keyspace
        self._pid = os.getpid()
        self._thread = get_ident()
        self._lock = RLock()  # owner of everything below; never held across I/O
        self._is_closed = False
        self._is_queueing = False  # True once another thread or an event loop uses it
        self._leads: Asked | None = None  # what its one thread is at itself
        self._behind: list[Asked] = []  # commands that came meanwhile, from others
        self._gathered: dict[Name, Entry] = {}  # plain writes that no answered request has taken along
        self._fresh: dict[Name, Entry] = {}  # those of them that no request has taken along
        self._fresh_bytes = 0
        self._asked: list[Asked] = []  # whose outcome nobody has looked at, in order
        self._touched: set[bytes] = set()  # internal keys that were written or seen, and perhaps are not durable
        # What those of them hold that it wrote itself, as long as COMMIT is `_commit`.
        self._known: dict[bytes, Any] = {}
        self._commit = 0
        self._prefixes: dict[str, bytes] = {}  # of the keyspaces, as the newest outcome left them
        self._all_touched = False  # a keyspace was cleared, or made
        self._target = 0  # a place in the WAL behind all that was written or seen; 0 if that is durable
        self._failures = Failures()

    @property
    def is_inherited(self) -> bool:
        """True in a forked child, to which it does not belong."""
        return os.getpid() != self._pid

    # -- writing -------------------------------------------------------------------------------------------------

    def gather(self, keyspace: str, writes: Iterable[Write], forgiving: bool) -> bool | None:
        """Keep plain writes until the next command. True if so much is gathered that there should be one now.

        None, and nothing is kept, once it is closed.
        """
        self._check_own()
        now_ms = self.store.engine.clock()
        entries = {
            (keyspace, key): Entry(value, 0 if ttl_ms is None else expiry_at(now_ms, ttl_ms, "set"), forgiving)
            for key, value, ttl_ms in writes
        }
        with self._lock:
            if self._is_closed:
                return None
            # Order: what is only in the second, after a signal, would be read and never written.
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
        """The answer. A deferral that only one thread uses writes in that thread if nobody else is writing."""
        if self._leads is not None and get_ident() == self._thread:
            raise StoreBusy("a signal handler or destructor can not write in the middle of a write by its own thread")
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
        except BaseException:  # of a signal handler, too, which may raise anywhere above
            self._recover()
            raise

    async def aperform(
        self, keyspace: str, command: Callable[..., Any] | None, args: tuple[Any, ...], forgiving: bool = False
    ) -> Any:
        """The answer. A caller who is cancelled does not learn the outcome; the next one who asks does, or `settle`."""
        loop = asyncio.get_running_loop()
        return await self._await(self._ask(keyspace, command, args, forgiving, wants_sync=False, loop=loop))

    def perform_unawaited(self, keyspace: str, command: Callable[..., Any], args: tuple[Any, ...]) -> None:
        """Have a command run behind all others that nobody waits for. Never raises."""
        self._is_queueing = True
        with suppress(FerroKVError):
            self._ask(keyspace, command, args, True, wants_sync=False)

    def append(self) -> None:
        """As of `Deferral`."""
        if self._fresh and not self.is_inherited:
            self.perform(self._keyspace, None, (), True)

    async def aappend(self) -> None:
        """As of `Deferral`."""
        if self._fresh and not self.is_inherited:
            await self.aperform(self._keyspace, None, (), True)

    def close(self) -> None:
        """From now on nothing is gathered, and what is asked is durable when it is answered."""
        with self._lock:
            self._is_closed = True

    def settle(self) -> None:
        """As of `Deferral`."""
        if not self._is_settled():
            try:
                self.perform(self._keyspace, None, (), True, wants_sync=True)
            except FerroKVError as error:
                self._tell(error)
            self._tell()

    def begin_settling(self, loop: asyncio.AbstractEventLoop) -> Asked | None:
        """Put everything on its way that `finish_settling` waits for; None if nothing is left to do. Waits for nothing."""
        return None if self._is_settled() else self._ask(self._keyspace, None, (), True, wants_sync=True, loop=loop)

    async def finish_settling(self, begun: Asked | None) -> None:
        """As of `Deferral.settle`, after `begin_settling`. Who is cancelled stops waiting; the writes go on."""
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
        """Have a command run behind everything gathered. One order for all who share this: that of the lock."""
        self._check_own()
        mine = loop is None and get_ident() == self._thread
        with self._lock:
            self._is_queueing |= not mine
            self._failures.is_minded |= not forgiving
            taken = self._fresh
            request = Request(run_deferred, keyspace, (taken, command, args))
            request.wants_sync = wants_sync or self._is_closed
            # What is minded from now on is minded by the next settling: this one may not cover it.
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
                # Order: in the queue before the lock is free, so that nothing which is written later comes before it; but behind
                # what the first thread is just writing by itself.
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
        """Let what others have asked meanwhile go on its way. Can be begun again, should a signal handler raise in it."""
        with self._lock:
            while self._behind:
                asked = self._behind[0]
                try:
                    if not asked.request.since:  # else it is in the queue
                        self._submit(asked)
                except FerroKVError:  # for the waiter, who is told by the request itself
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
        """Behind any exception in the first thread: others go on, and what may never be answered is told at the settling."""
        if get_ident() != self._thread:
            return
        with self._lock:
            if self._leads is not None:
                self._stop_leading()
            for asked in list(self._asked):
                if asked.request.loop is None and not asked.request.is_done and not asked.request.since:
                    self._give_up(asked)

    def _give_up(self, asked: Asked) -> None:
        """Whether what it took along will be written is not known, unless it took nothing yet. Under the lock."""
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
        """Learn from the outcome what was written, and give the answer. Those of callers who left come first, in order."""
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
        """Take in what is answered, perhaps to callers who have left. Under the lock."""
        while self._asked and self._asked[0].request.is_done:
            self._take_in(self._asked[0])

    def _take_in(self, asked: Asked) -> None:
        """Learn from an outcome. Under the lock."""
        self._forget(asked)
        request = asked.request
        if request.error is not None:
            self._failures.keep(asked, request.error)
        elif isinstance(request.answer, Outcome):
            self._learn(asked, request.answer)
        # Order: at last, so that what a signal handler interrupts is done once more.
        self._asked = [other for other in self._asked if other is not asked]

    def _forget(self, asked: Asked) -> None:
        for name, entry in asked.taken.items():
            if self._gathered.get(name) is entry:
                del self._gathered[name]

    def _learn(self, asked: Asked, outcome: Outcome) -> None:
        words = self.store.engine.words
        commit = words[COMMIT]
        self._is_unsynced()  # so that what is durable is not remembered for ever by who never settles
        self._target = words[APPENDED]
        if commit != asked.commit or (self._commit != commit and self._known):
            self._known = {}  # somebody else's commit became durable meanwhile, and may have changed the same keys
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
        """True if nothing is left to wait for, or somebody else's sync has covered all of it."""
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
        """True if something was written or seen that may not be durable. Forgets what is. Under the lock."""
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
        """What this deferral knows of a key: bytes, None for deleted or expired, UNKNOWN, or False for one that it has not met."""
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
        """True if a command can not see anything that this deferral wrote or saw and that is not durable."""
        with self._lock:
            if not self._gathered and not self._asked and not self._is_unsynced():
                return True
        if command in _ONE_KEY:
            return self.find(keyspace, args[0]) is False
        return command in _MANY_KEYS and all(self.find(keyspace, key) is False for key in args[0])
