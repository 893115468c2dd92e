# Made by `python -m tools.make_twins` from local/faces/aio/deferred.py; edit that.
"""The commands within a deferral. Each returns before its write is durable (faces/deferral.py)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

from ....contract.batch import WriteBatch
from ....contract.encoding import Key, encode_key
from ...commands import locks, strings
from ...engine.wakeups import Kind
from ...log.transaction import Transaction
from ...runtime.watch import BlockingWaiter
from ...storage.requests import Op
from ...tree.records import Records
from ..arguments import check_batch
from ..outcomes import run_read
from ..pipelines import Tx, check_function, run_function
from ..unsettled import UNKNOWN, Unsettled
from .hashes import BlockingHashReads, BlockingHashWrites
from .keys import BlockingKeyReads, BlockingKeyWrites
from .lists import BlockingListReads, BlockingListWrites
from .locks import BlockingLocking
from .sets import BlockingSetReads, BlockingSetWrites
from .sorted_sets import BlockingSortedSetReads, BlockingSortedSetWrites
from .strings import BlockingStringReads, BlockingStringWrites

P = ParamSpec("P")
T = TypeVar("T")


class BlockingDeferredCommands(
    BlockingKeyReads,
    BlockingKeyWrites,
    BlockingStringReads,
    BlockingStringWrites,
    BlockingListReads,
    BlockingListWrites,
    BlockingHashReads,
    BlockingHashWrites,
    BlockingSetReads,
    BlockingSetWrites,
    BlockingSortedSetReads,
    BlockingSortedSetWrites,
    BlockingLocking,
):
    """The commands of one keyspace within a deferral.

    An answer is definite only once the deferral is settled. `write` costs no I/O; a command that
    needs an answer costs one append to the WAL. Blocking pops do not wait.
    """

    __slots__ = ("_forgiving", "_handle", "_keyspace", "_unsettled")

    def __init__(self, unsettled: Unsettled, handle: Any, keyspace: str, forgiving: bool) -> None:
        self._unsettled = unsettled
        self._handle = handle
        self._keyspace = keyspace
        self._forgiving = forgiving

    def get(self, name: Key) -> bytes | None:
        """Return a string's value, or None.

        Keys that the deferral has not written cost no more than usual.
        """
        found = self._unsettled.find(self._keyspace, encode_key(name))
        if found is False:
            return self._handle.get(name)  # type: ignore[no-any-return]
        if found is UNKNOWN:
            return self._query(strings.get, encode_key(name))
        return found  # type: ignore[return-value]

    def write(self, batch: WriteBatch) -> bool:
        """Collect the writes of the batch in memory. Returns True.

        They are appended to the WAL before the deferral's next command that needs an answer.
        """
        writes = check_batch(batch)
        much = self._unsettled.gather(self._keyspace, writes, self._forgiving)
        if much is None:  # the deferral was closed: write after everything it has collected
            return self._write(strings.write_many, writes)
        if much:
            self._unsettled.perform(self._keyspace, None, (), self._forgiving)
        return True

    def transaction(self, function: Callable[[Tx], T]) -> T:
        """As `FerroKV.transaction`: run `function(tx)` once and return its result."""
        checked = check_function(function)
        return self._unsettled.perform(self._keyspace, run_function, (checked,), self._forgiving)  # type: ignore[no-any-return]

    def _waiting(self, kind: Kind, names: list[bytes]) -> BlockingWaiter:
        return self._handle._waiting(kind, names)  # type: ignore[no-any-return]

    def _owners(self) -> locks.Owners:
        return self._handle._owners()  # type: ignore[no-any-return]

    def _query(self, command: Callable[Concatenate[Records, P], Op[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        # Whoever asks about a lock wants to know what others have appended, since taking a lock
        # need not be durable.
        if command is not locks.is_held and self._unsettled.is_apart(self._keyspace, command, args):
            return self._handle._query(command, *args)  # type: ignore[no-any-return]
        return self._unsettled.perform(self._keyspace, run_read, (command, args), self._forgiving)  # type: ignore[no-any-return]

    def _write(self, command: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        return self._unsettled.perform(self._keyspace, command, args, self._forgiving)  # type: ignore[no-any-return]

    def _write_unawaited(
        self, command: Callable[Concatenate[Transaction, P], object], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        self._unsettled.perform_unawaited(self._keyspace, command, args)

    def _wait_for(
        self,
        timeout: float | None,
        names: list[bytes],
        command: Callable[Concatenate[Transaction, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        return self._unsettled.perform(self._keyspace, command, args, self._forgiving)  # type: ignore[no-any-return]
