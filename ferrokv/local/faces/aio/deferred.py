"""The commands within a deferral. Each returns before its write is durable (faces/deferral.py)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

from ....contract.batch import WriteBatch
from ....contract.encoding import Key, encode_key
from ...commands import locks, strings
from ...commands.touched import keys_read, reads_appended
from ...engine.wakeups import Kind
from ...log.transaction import Transaction
from ...runtime.deferrals.commands import run_read
from ...runtime.deferrals.driver import DeferralDriver
from ...runtime.deferrals.ledger import UNKNOWN, UNTOUCHED
from ...runtime.watch import AsyncWaiter
from ...storage.requests import Op
from ...tree.records import Records
from ..arguments import check_batch
from ..pipelines import Tx, check_function, run_function
from .hashes import AsyncHashReads, AsyncHashWrites
from .keys import AsyncKeyReads, AsyncKeyWrites
from .lists import AsyncListReads, AsyncListWrites
from .locks import AsyncLocking
from .sets import AsyncSetReads, AsyncSetWrites
from .sorted_sets import AsyncSortedSetReads, AsyncSortedSetWrites
from .strings import AsyncStringReads, AsyncStringWrites

P = ParamSpec("P")
T = TypeVar("T")


class DeferredCommands(
    AsyncKeyReads,
    AsyncKeyWrites,
    AsyncStringReads,
    AsyncStringWrites,
    AsyncListReads,
    AsyncListWrites,
    AsyncHashReads,
    AsyncHashWrites,
    AsyncSetReads,
    AsyncSetWrites,
    AsyncSortedSetReads,
    AsyncSortedSetWrites,
    AsyncLocking,
):
    """The commands of one keyspace within a deferral.

    An answer is definite only once the deferral is settled. `write` costs no I/O; a command that
    needs an answer costs one append to the WAL. Blocking pops do not wait.
    """

    __slots__ = ("_driver", "_forgiving", "_handle", "_keyspace")

    def __init__(self, driver: DeferralDriver, handle: Any, keyspace: str, forgiving: bool) -> None:
        self._driver = driver
        self._handle = handle
        self._keyspace = keyspace
        self._forgiving = forgiving

    async def get(self, name: Key) -> bytes | None:
        """Return a string's value, or None.

        Keys that the deferral has not written cost no more than usual.
        """
        found = self._driver.find(self._keyspace, encode_key(name))
        if found is UNTOUCHED:
            return await self._handle.get(name)  # type: ignore[no-any-return]
        if found is UNKNOWN:
            return await self._query(strings.get, encode_key(name))
        return found

    async def write(self, batch: WriteBatch) -> bool:
        """Collect the writes of the batch in memory. Returns True.

        They are appended to the WAL before the deferral's next command that needs an answer.
        """
        writes = check_batch(batch)
        much = self._driver.collect(self._keyspace, writes, self._forgiving)
        if much is None:  # the deferral was closed: write after everything it has collected
            return await self._write(strings.write_many, writes)
        if much:
            await self._driver.aperform(self._keyspace, None, (), self._forgiving)
        return True

    async def transaction(self, function: Callable[[Tx], T]) -> T:
        """As `FerroKV.transaction`: run `function(tx)` once and return its result."""
        checked = check_function(function)
        return await self._driver.aperform(self._keyspace, run_function, (checked,), self._forgiving)  # type: ignore[no-any-return]

    def _waiting(self, kind: Kind, names: list[bytes]) -> AsyncWaiter:
        return self._handle._waiting(kind, names)  # type: ignore[no-any-return]

    async def _owners(self) -> locks.Owners:
        return await self._handle._owners()  # type: ignore[no-any-return]

    async def _query(self, command: Callable[Concatenate[Records, P], Op[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        if not reads_appended(command) and self._driver.sees_only_durable(self._keyspace, keys_read(command, args)):
            return await self._handle._query(command, *args)  # type: ignore[no-any-return]
        return await self._driver.aperform(self._keyspace, run_read, (command, args), self._forgiving)  # type: ignore[no-any-return]

    async def _write(self, command: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._driver.aperform(self._keyspace, command, args, self._forgiving)  # type: ignore[no-any-return]

    def _write_unawaited(
        self, command: Callable[Concatenate[Transaction, P], object], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        self._driver.perform_unawaited(self._keyspace, command, args)

    async def _wait_for(
        self,
        timeout: float | None,
        names: list[bytes],
        command: Callable[Concatenate[Transaction, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        return await self._driver.aperform(self._keyspace, command, args, self._forgiving)  # type: ignore[no-any-return]
