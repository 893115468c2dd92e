"""What a deferral is made of: many writes of one caller, each answered at once, and one wait for all of them to be durable.

A web request that writes ten times does not need ten syncs, only that all is durable before its response leaves. So a deferral
gathers plain writes; what has an answer (INCR, SET NX, a transaction) is run and appended to the WAL without a sync, together with
what was gathered before it; and `settle` has one sync cover everything. Until then nobody else sees any of it, for readers see
only what is durable, and nothing is acknowledged: this is a group commit whose end the caller chooses.

Reads through a deferral see its own writes. Of a key that it wrote it knows the value as long as nobody else's commit became
durable since; else the read runs as a transaction, which sees what is appended.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from threading import RLock, get_ident
from typing import Any, Final, NamedTuple, TypeVar

from ..commands import expiry, keys, strings
from ..commands.encoding import expiry_at
from ..commands.strings import Write
from ..engine.transaction import Transaction
from ..errors import StoreClosed
from ..format.control import APPENDED, COMMIT, is_reached
from ..runtime.store import Store
from ..runtime.waiters import Request
from ..storage.requests import Op
from .pipelines import run_nested

T = TypeVar("T")
GATHERED_RECORDS_MAX: Final = 1_000
GATHERED_BYTES_MAX: Final = 1 << 20
Entry = tuple[Any, int]
"""(value or None for a tombstone, expires_ms or 0)"""
Name = tuple[str, bytes]
"""A keyspace and a user key."""
# Commands whose first argument names all keys that they read.
_ONE_KEY: Final = frozenset({strings.get, expiry.ttl, expiry.pttl, expiry.expiretime, expiry.pexpiretime})
_MANY_KEYS: Final = frozenset({strings.get_many, keys.exists})
UNKNOWN: Final = object()


class Outcome(NamedTuple):
    """What a command answered or raised, and the records that it wrote together with what had been gathered."""

    answer: Any
    error: Exception | None
    changes: dict[bytes, Entry]
    prefixes: dict[str, bytes]
    remade: bool  # a keyspace was cleared, or made


class Asked(NamedTuple):
    """A request on its way, what of the gathered writes it took along, and COMMIT before it."""

    request: Request
    taken: dict[Name, Entry]
    commit: int


def run_deferred(
    tx: Transaction, taken: dict[Name, Entry], command: Callable[..., Any] | None, args: tuple[Any, ...]
) -> Outcome:
    """Gathered writes and then a command, as one command. What the command raises leaves the gathered writes standing."""
    answer = error = None
    catalogue = tx.catalogue
    for (keyspace, key), (value, expires_ms) in taken.items():
        inside = tx.inside(keyspace)
        if value is None:
            inside.delete(key)
        else:
            inside.put(key, value, expires_ms)
    if command is not None:
        try:
            answer = run_nested(tx, command, args)
        except Exception as raised:  # noqa: BLE001 - also what a function of the caller's raises
            error = raised
    remade = tx.catalogue is not catalogue
    return Outcome(answer, error, dict(tx.changes), dict(tx.catalogue.prefixes), remade)


def run_read(tx: Transaction, command: Callable[..., Op[T]], args: tuple[Any, ...]) -> T:
    """A command that only reads, on the newest state."""
    answer: T = tx.complete(command(tx, *args))
    return answer


class Unsettled:
    """What a deferral has written and not yet waited for. Threads and event loops may share it."""

    def __init__(self, store: Store, keyspace: str) -> None:
        self.store = store
        self._keyspace = keyspace
        self._pid = os.getpid()
        self._thread = get_ident()
        self._is_queueing = False  # True once another thread or an event loop uses it
        self._lock = RLock()  # owner of everything below; never held across I/O
        self._gathered: dict[Name, Entry] = {}  # plain writes that no answered request has taken along
        self._fresh: dict[Name, Entry] = {}  # those of them that no request has taken along
        self._fresh_bytes = 0
        self._asked: list[Asked] = []  # whose outcome nobody has looked at
        self._touched: set[bytes] = set()  # internal keys that were written and perhaps are not durable
        self._known: dict[bytes, Entry] = {}  # what those of them hold, as long as COMMIT is `_commit`
        self._commit = 0
        self._prefixes: dict[str, bytes] = {}  # of the keyspaces, as the newest outcome left them
        self._all_touched = False  # a keyspace was cleared, or made
        self._appended = 0  # a place in the WAL behind all that was written
        self._failure: BaseException | None = None  # of writes whose caller did not wait

    @property
    def is_inherited(self) -> bool:
        """True in a forked child, to which it does not belong."""
        return os.getpid() != self._pid

    # -- writing -------------------------------------------------------------------------------------------------

    def gather(self, keyspace: str, writes: Iterable[Write]) -> bool:
        """Keep plain writes until the next command. True if so much is gathered that there should be one now."""
        self._check_own()
        now_ms = self.store.engine.clock()
        with self._lock:
            for key, value, ttl_ms in writes:
                entry = (value, 0 if ttl_ms is None else expiry_at(now_ms, ttl_ms, "set"))
                self._gathered[keyspace, key] = self._fresh[keyspace, key] = entry
                self._fresh_bytes += len(key) + len(value or b"")
        return len(self._fresh) >= GATHERED_RECORDS_MAX or self._fresh_bytes >= GATHERED_BYTES_MAX

    def _ask(
        self,
        keyspace: str,
        command: Callable[..., Any] | None,
        args: tuple[Any, ...],
        wants_sync: bool,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> Asked:
        """Have a command run behind everything gathered. One order for all who share this: that of the lock."""
        self._check_own()
        store = self.store
        if loop is not None or get_ident() != self._thread:
            self._is_queueing = True
        with self._lock:
            taken, self._fresh, self._fresh_bytes = self._fresh, {}, 0
            request = Request(run_deferred, keyspace, (taken, command, args))
            request.wants_sync = wants_sync
            asked = Asked(request, taken, store.engine.words[COMMIT])
            self._asked.append(asked)
            if loop is not None:
                request.for_loop(loop)
            if self._is_queueing:
                # Order: in the queue before the lock is free, so that nothing which is written later comes before it.
                self._submit(asked)
        return asked

    def _submit(self, asked: Asked) -> None:
        if asked.request.loop is None:
            asked.request.for_thread()
        try:
            self.store.submit(asked.request)
        except BaseException as error:
            asked.request.error = error
            self._note(asked)
            raise

    def perform(
        self, keyspace: str, command: Callable[..., Any] | None, args: tuple[Any, ...], *, wants_sync: bool = False
    ) -> Any:
        """The answer. A deferral that only one thread uses writes in that thread if nobody else is writing."""
        asked = self._ask(keyspace, command, args, wants_sync)
        request = asked.request
        if request.lock is None:
            self.store.serve(request)
        else:
            request.lock.acquire()
        return self._note(asked)

    async def aperform(
        self, keyspace: str, command: Callable[..., Any] | None, args: tuple[Any, ...], *, wants_sync: bool = False
    ) -> Any:
        """The answer. A caller who is cancelled does not learn the outcome; `settle` looks at it."""
        asked = self._ask(keyspace, command, args, wants_sync, asyncio.get_running_loop())
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

    def append(self) -> None:
        """As of `Deferral`."""
        if self._fresh and not self.is_inherited:
            self.perform(self._keyspace, None, ())

    async def aappend(self) -> None:
        """As of `Deferral`."""
        if self._fresh and not self.is_inherited:
            await self.aperform(self._keyspace, None, ())

    def settle(self) -> None:
        """As of `Deferral`."""
        if not self._is_settled():
            try:
                self.perform(self._keyspace, None, (), wants_sync=True)
            finally:
                failure = self._look_back()
            if failure is not None:
                raise failure

    async def asettle(self) -> None:
        """As of `Deferral`."""
        if not self._is_settled():
            try:
                await self.aperform(self._keyspace, None, (), wants_sync=True)
            finally:
                failure = self._look_back()
            if failure is not None:
                raise failure

    def _note(self, asked: Asked, *, raises: bool = True) -> Any:
        """Learn from the outcome what was written, and give the answer."""
        with self._lock:
            self._asked = [other for other in self._asked if other is not asked]
            for name, entry in asked.taken.items():
                if self._gathered.get(name) is entry:
                    del self._gathered[name]
            outcome = asked.request.answer
            if asked.request.error is not None:
                if asked.taken and self._failure is None:
                    self._failure = asked.request.error  # of writes that had seemed to be done
                if raises:
                    raise asked.request.error
                return None
            assert isinstance(outcome, Outcome)
            self._learn(asked, outcome)
        if outcome.error is not None and raises:
            raise outcome.error
        return outcome.answer

    def _learn(self, asked: Asked, outcome: Outcome) -> None:
        if not outcome.changes:
            return
        words = self.store.engine.words
        commit = words[COMMIT]
        if commit != asked.commit or (self._commit != commit and self._known):
            self._known = {}  # somebody else's commit became durable meanwhile, and may have changed the same keys
        if commit == asked.commit:
            self._known.update(outcome.changes)
        self._commit = commit
        self._appended = words[APPENDED]
        self._touched.update(outcome.changes)
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
            return not self._fresh and not self._asked and self._failure is None and not self._is_unsynced()

    def _is_unsynced(self) -> bool:
        """True if something was written that may not be durable. Forgets what is. Under the lock."""
        if not self._touched:
            return False
        if is_reached(self.store.engine.words[COMMIT], self._appended):
            self._touched, self._known, self._all_touched = set(), {}, False
            return False
        return True

    def _look_back(self) -> BaseException | None:
        """Note the outcomes that nobody has looked at, and say what went wrong with writes that had seemed to be done."""
        with self._lock:
            answered = [asked for asked in self._asked if asked.request.answer is not None or asked.request.error]
            for asked in answered:
                self._note(asked, raises=False)
            failure, self._failure = self._failure, None
        return failure

    # -- reading -------------------------------------------------------------------------------------------------

    def find(self, keyspace: str, key: bytes) -> object:
        """What this deferral itself knows of a key: bytes, None for deleted or expired, UNKNOWN, or False if it never wrote it."""
        with self._lock:
            entry = self._gathered.get((keyspace, key))
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
        """True if a command can not see anything that this deferral wrote and that is not durable."""
        with self._lock:
            if not self._gathered and not self._asked and not self._is_unsynced():
                return True
        if command in _ONE_KEY:
            return self.find(keyspace, args[0]) is False
        return command in _MANY_KEYS and all(self.find(keyspace, key) is False for key in args[0])
