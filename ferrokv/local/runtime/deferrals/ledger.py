"""The ledger of a deferral: what was collected, what was asked, what is owed, what may be answered.

It is a state machine without threads, clocks or I/O. The driver tells it what happens, gives it a
function for the two positions of the log that matter (COMMIT, the durable end, and APPENDED, the
end), and calls it under one lock. A write goes through these states:

1. *collected*: in memory only. `fresh` holds those that no request has taken along.
2. *asked*: a request took them along, and its answer is not known.
3. *unsynced*: the answer is known and APPENDED, but not durable. `_touched` are the keys that were
   written or seen in this state, and `_end` is where the log ended.
4. *settled*: COMMIT has reached `_end`. The ledger has forgotten all of it.

An answer may depend on what *others* have appended and not synced, such as a refused SET NX. So
`_end` covers what a command has seen, even if it wrote nothing, and such keys count as touched.
What the deferral itself wrote to a touched key is known, until somebody else's commit becomes
durable, which may have changed the same key, or until a command has seen that others wrote over it.

A signal handler of the caller may raise between any two statements. Each method therefore changes
the state in an order that can be repeated, or that loses no write that a read would show.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, NamedTuple, Protocol

from ....errors import StoreUncertain
from ...format.control import is_reached
from .failures import INTERRUPTED, Failures

COLLECTED_RECORDS_MAX: Final = 1_000
COLLECTED_BYTES_MAX: Final = 1 << 20
Name = tuple[str, bytes]
"""Keyspace and user key."""
Record = tuple[Any, ...]
"""(value, None for a tombstone, or a collection; expires_ms or 0; ...), as in tree/overlay.py."""


class NotKnown(Enum):
    """What the ledger says of a key whose value it does not know."""

    UNTOUCHED = 1
    """Nothing that this deferral did depends on it: the newest durable value is right."""
    UNKNOWN = 2
    """A command has to look, after everything that was asked before."""


UNTOUCHED: Final = NotKnown.UNTOUCHED
UNKNOWN: Final = NotKnown.UNKNOWN


class CollectedWrite(NamedTuple):
    """A plain write that has not reached the writer yet.

    `value` is None for a deletion, and `expires_ms` 0 without a TTL. `forgiving` means that losing
    the write is logged and not raised.
    """

    value: bytes | None
    expires_ms: int
    forgiving: bool


class Outcome(NamedTuple):
    """What a command returned or raised, and what it changed.

    `changes` are the records that it wrote; `seen` are those that it may have read before they were
    durable, by this deferral or by others.
    """

    answer: object
    error: Exception | None
    changes: Mapping[bytes, Record]
    seen: Mapping[bytes, Record]
    prefixes: dict[str, bytes]
    remade: bool  # a keyspace was cleared or created, and that is not durable yet


class Reply(Protocol):
    """What the ledger reads of a request. Once `is_done`, the others do not change."""

    @property
    def is_done(self) -> bool:
        """True once there is an answer or an error."""

    @property
    def answer(self) -> object:
        """An `Outcome`, if the command ran."""

    @property
    def error(self) -> BaseException | None:
        """Why it did not run, or why it is not known whether it did."""


@dataclass(slots=True, eq=False)
class Asked:
    """A request on its way.

    `taken` are the collected writes that it took along, and `commit` is COMMIT before it was sent.
    `loss_matters` says whether its own failure has to be raised.
    """

    request: Reply
    taken: dict[Name, CollectedWrite]
    commit: int
    loss_matters: bool


class Ledger:
    """What a deferral has written and seen, and not yet waited for."""

    def __init__(self, log: Callable[[], tuple[int, int]]) -> None:
        """`log` returns COMMIT and APPENDED. It is called only where the answer depends on them."""
        self._log = log
        self.fresh: dict[Name, CollectedWrite] = {}  # collected, and not taken along by any request
        self.failures = Failures()
        self._fresh_bytes = 0
        self._collected: dict[Name, CollectedWrite] = {}  # not covered by an answered request
        self._asked: list[Asked] = []  # requests whose outcome has not been taken in, in order
        self._touched: set[bytes] = set()  # internal keys written or seen that may not be durable
        self._known: dict[bytes, Record] = {}  # written by this deferral; valid while COMMIT is `_commit`
        self._commit = 0
        self._prefixes: dict[str, bytes] = {}  # keyspace prefixes, as of the newest outcome
        self._all_touched = False  # a keyspace was cleared or created
        self._end = 0  # of the log, after everything written or seen; 0 if all of it is durable

    # -- collecting and asking ---------------------------------------------------------------------

    def collect(self, writes: Mapping[Name, CollectedWrite], *, loss_matters: bool) -> bool:
        """Take in plain writes. True if so much is collected that a request should take it along."""
        # Order: if a signal interrupts here, a write that is only in `_collected` would be read but
        # never written.
        self.fresh.update(writes)
        self._collected.update(writes)
        self._fresh_bytes += sum(len(key) + len(write.value or b"") for (_, key), write in writes.items())
        self.failures.loss_matters |= loss_matters
        return len(self.fresh) >= COLLECTED_RECORDS_MAX or self._fresh_bytes >= COLLECTED_BYTES_MAX

    def ask(self, asked: Asked, *, settles: bool) -> None:
        """Note a request that takes along what is `fresh`. If it `settles`, it wants a sync."""
        self._asked.append(asked)
        if settles:
            self.failures.loss_matters = False
        self.fresh, self._fresh_bytes = {}, 0

    def is_open(self, asked: Asked) -> bool:
        """Return True if the request still waits for its outcome."""
        return asked in self._asked

    @property
    def open_requests(self) -> tuple[Asked, ...]:
        """The requests whose outcome has not been taken in, in order."""
        return tuple(self._asked)

    def give_up(self, asked: Asked) -> None:
        """Forget a request. Its outcome is unknown, unless it took nothing along."""
        if asked.loss_matters or self.fresh is not asked.taken:
            self._keep(asked, StoreUncertain(INTERRUPTED))
        if self.fresh is not asked.taken:
            self._forget(asked)
        self._remove(asked)

    # -- outcomes ----------------------------------------------------------------------------------

    def take_in(self, asked: Asked) -> None:
        """Take in the outcomes that have arrived, and then that of this request, which is done."""
        self.take_in_answered()
        if asked in self._asked:
            self._take_in(asked)

    def take_in_answered(self) -> None:
        """Take in the outcomes that have arrived, even if those who asked have left."""
        while self._asked and self._asked[0].request.is_done:
            self._take_in(self._asked[0])

    def _take_in(self, asked: Asked) -> None:
        self._forget(asked)
        request = asked.request
        if request.error is not None:
            self._keep(asked, request.error)
        elif isinstance(request.answer, Outcome):
            self._learn(request.answer, asked.commit)
        # Order: last, so that a step interrupted by a signal handler is repeated.
        self._remove(asked)

    def _remove(self, asked: Asked) -> None:
        # A signal handler that reads through the deferral may have done it already.
        self._asked = [other for other in self._asked if other is not asked]

    def _keep(self, asked: Asked, error: BaseException) -> None:
        unforgiving = any(not write.forgiving for write in asked.taken.values())
        self.failures.keep(error, loss_matters=asked.loss_matters, unforgiving=unforgiving, writes=len(asked.taken))

    def _forget(self, asked: Asked) -> None:
        for name, write in asked.taken.items():
            if self._collected.get(name) is write:
                del self._collected[name]

    def _learn(self, outcome: Outcome, commit_before: int) -> None:
        self._is_unsynced()  # forget what is durable, even if this deferral is never settled
        # Order: read only now that the request is done, so that the end includes what it wrote.
        commit, end = self._log()
        self._end = end
        if commit != commit_before or (self._commit != commit and self._known):
            self._known = {}  # another commit became durable meanwhile, and may have changed the same keys
        # Others may have written over it, and the command may have told of that.
        for key in self._known.keys() & outcome.seen.keys():
            if self._known[key][:2] != outcome.seen[key][:2]:
                del self._known[key]
        if commit == commit_before:
            self._known.update(outcome.changes)
        self._commit = commit
        self._touched.update(outcome.changes)
        self._touched.update(outcome.seen)
        self._all_touched |= outcome.remade
        self._prefixes = outcome.prefixes

    # -- settling ----------------------------------------------------------------------------------

    def is_settled(self) -> bool:
        """Return True if all of it is durable.

        A settling begins: a failure that was raised is forgotten.
        """
        self.failures.forget_told()
        self.take_in_answered()
        if self.fresh or self._asked or self.failures.is_kept or self._is_unsynced():
            return False
        self.failures.loss_matters = False
        return True

    def _is_unsynced(self) -> bool:
        """Return True if a write that it made or saw may not be durable. Forget the durable ones."""
        if not self._end:
            return False
        if is_reached(self._log()[0], self._end):
            self._touched, self._known, self._all_touched, self._end = set(), {}, False, 0
            return False
        return True

    # -- reading -----------------------------------------------------------------------------------

    def find(self, keyspace: str, key: bytes) -> tuple[bytes | None, int] | NotKnown:
        """Return what the deferral wrote to a key: (value or None, expires_ms or 0)."""
        if self._asked:
            self.take_in_answered()
        found: CollectedWrite | Record | None = self._collected.get((keyspace, key))
        if found is None:
            if not self._is_unsynced():
                return UNTOUCHED
            prefix = self._prefixes.get(keyspace)
            name = key if prefix is None else prefix + key
            if not self._all_touched and (prefix is None or name not in self._touched):
                return UNTOUCHED
            if self._commit != self._log()[0]:
                return UNKNOWN
            found = self._known.get(name)
        if found is None or not (found[0] is None or found[0].__class__ is bytes):
            return UNKNOWN
        return found[0], found[1]

    def sees_only_durable(self, keyspace: str, keys: Iterable[bytes] | None) -> bool:
        """Return True if a read of these keys sees only durable writes; `keys` is None for any."""
        if not self._collected and not self._asked and not self._is_unsynced():
            return True
        return keys is not None and all(self.find(keyspace, key) is UNTOUCHED for key in keys)
