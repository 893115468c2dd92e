# Made by `python -m tests.make_twins` from faces/aio/deferred.py; edit that.
"""The commands within a deferral: each answered before it is durable (faces/deferral.py)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

from ...batch import WriteBatch
from ...commands import strings
from ...commands.encoding import Key, encode_key
from ...engine.records import Records
from ...engine.transaction import Transaction
from ...storage.requests import Op
from ..arguments import check_batch
from ..pipelines import Tx, check_function, run_function
from ..unsettled import UNKNOWN, Unsettled, run_read
from .hashes import BlockingHashReads, BlockingHashWrites
from .keys import BlockingKeyReads, BlockingKeyWrites
from .lists import BlockingListReads, BlockingListWrites
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
):
    """The commands in one keyspace of a deferral. Answers are true once the deferral is settled.

    `write` costs no I/O, what has to answer one append to the WAL. Blocking pops do not wait.
    """

    __slots__ = ("_handle", "_keyspace", "_unsettled")

    def __init__(self, unsettled: Unsettled, handle: Any, keyspace: str) -> None:
        self._unsettled = unsettled
        self._handle = handle
        self._keyspace = keyspace

    def get(self, name: Key) -> bytes | None:
        """The value, or None. As fast as elsewhere for keys that the deferral did not write."""
        found = self._unsettled.find(self._keyspace, encode_key(name))
        if found is False:
            return self._handle.get(name)  # type: ignore[no-any-return]
        if found is UNKNOWN:
            return self._query(strings.get, encode_key(name))
        return found  # type: ignore[return-value]

    def write(self, batch: WriteBatch) -> bool:
        """True. The writes are gathered; they will be appended before whatever is written next."""
        if self._unsettled.gather(self._keyspace, check_batch(batch)):
            self._unsettled.perform(self._keyspace, None, ())
        return True

    def transaction(self, function: Callable[[Tx], T]) -> T:
        """What `function(tx)` returns, as of `FerroKV.transaction`."""
        checked = check_function(function)
        return self._unsettled.perform(self._keyspace, run_function, (checked,))  # type: ignore[no-any-return]

    def _query(self, command: Callable[Concatenate[Records, P], Op[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        if self._unsettled.is_apart(self._keyspace, command, args):
            return self._handle._query(command, *args)  # type: ignore[no-any-return]
        return self._unsettled.perform(self._keyspace, run_read, (command, args))  # type: ignore[no-any-return]

    def _write(self, command: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        return self._unsettled.perform(self._keyspace, command, args)  # type: ignore[no-any-return]

    def _wait_for(
        self,
        timeout: float | None,
        names: list[bytes],
        command: Callable[Concatenate[Transaction, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        return self._unsettled.perform(self._keyspace, command, args)  # type: ignore[no-any-return]
