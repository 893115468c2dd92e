"""Pipelines, with redis-py's WATCH, and transactions given as a function.

A pipeline collects commands and then runs them together. Both it and a transaction run as a single
command of the writer, so they are serializable across threads, event loops and processes, and cost
one sync.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Concatenate, Final, NamedTuple, ParamSpec, TypeVar

from ...contract.encoding import Key, encode_keyspace
from ...errors import DataError, FerroKVError, ResponseError, WatchError
from ..commands.scans import make_range, read_pairs
from ..engine.engine import named
from ..log.transaction import Transaction
from ..storage.requests import Op
from ..tree.records import Found, Records
from .arguments import encode_some_names
from .blocking.hashes import BlockingHashReads, BlockingHashWrites
from .blocking.keys import BlockingKeyReads, BlockingKeyWrites
from .blocking.lists import BlockingListReads, BlockingListWrites
from .blocking.sets import BlockingSetReads, BlockingSetWrites
from .blocking.sorted_sets import BlockingSortedSetReads, BlockingSortedSetWrites
from .blocking.strings import BlockingStringReads, BlockingStringWrites
from .queued import QueuedCommands

P = ParamSpec("P")
T = TypeVar("T")
NOT_PLAIN: Final = "a transaction is a plain function of one argument, without await, yield or blocking calls"
Watched = dict[bytes, Found | None]
"""Key -> what it held when it was watched. The root record of a collection counts its changes."""


class Tx(
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
    """The commands inside `transaction(fn)`: the argument of `fn`.

    Each command is answered at once, from the newest state and the changes made so far. If a
    command raises, it has changed nothing, and `fn` may continue. Blocking pops do not wait. Valid
    until `fn` returns, and only in the thread that runs it.
    """

    __slots__ = ("_open_transactions", "_transaction")

    def __init__(self, transaction: Transaction, open_transactions: list[Transaction]) -> None:
        self._transaction = transaction
        # Shared with the `Tx` of other keyspaces; empty once it is over.
        self._open_transactions = open_transactions

    def keyspace(self, name: str) -> Tx:
        """Return the commands of another keyspace in the same transaction."""
        return Tx(self._open().inside(encode_keyspace(name)), self._open_transactions)

    def scan(
        self,
        start: Key | None = None,
        end: Key | None = None,
        *,
        prefix: Key | None = None,
        reverse: bool = False,
        limit: int | None = None,
    ) -> list[tuple[bytes, bytes]]:
        """Return (key, value) of string keys in [start, end) with the prefix, up to `limit`.

        They are in key order, or in reverse order with `reverse`.
        """
        return self._query(read_pairs, make_range(start, end, prefix, reverse, limit))

    def _open(self) -> Transaction:
        if not self._open_transactions:
            raise FerroKVError("the transaction is over")
        return self._transaction

    def _query(self, command: Callable[Concatenate[Records, P], Op[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        transaction = self._open()
        answer: T = transaction.complete(command(transaction, *args, **kwargs))
        return answer

    def _write(self, command: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        return self._open().run_nested(command, args)

    def _wait_for(
        self,
        timeout: float | None,
        names: list[bytes],
        command: Callable[Concatenate[Transaction, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        return self._open().run_nested(command, args)


def run_function(transaction: Transaction, function: Callable[[Tx], T]) -> T:
    """Run a caller's transaction function, as a command of the writer."""
    open_transactions = [transaction]
    try:
        answer = function(Tx(transaction, open_transactions))
    finally:
        open_transactions.clear()
    if inspect.iscoroutine(answer) or inspect.isgenerator(answer):
        answer.close()
        raise DataError(NOT_PLAIN)
    return answer


def check_function(function: Callable[[Tx], T]) -> Callable[[Tx], T]:
    """Return the function.

    `DataError` for a coroutine function: it could not be awaited by the writer.
    """
    if not callable(function) or inspect.iscoroutinefunction(function):
        raise DataError(NOT_PLAIN)
    return function


class Queued(NamedTuple):
    """A command waiting in a pipeline."""

    command: Callable[..., Any]
    args: tuple[Any, ...]
    is_write: bool


class Queue(QueuedCommands):
    """The base of both kinds of pipeline.

    A command is queued and returns the pipeline itself, until `execute` runs everything. Between
    `watch` and `multi`, commands run at once instead. Not safe to share between threads or tasks.
    """

    __slots__ = ("_handle", "_is_explicit", "_queued", "_watched")

    def __init__(self, handle: Any) -> None:
        self._handle = handle
        self._queued: list[Queued] = []
        self._watched: Watched = {}
        self._is_explicit = False

    def __len__(self) -> int:
        return len(self._queued)

    def __bool__(self) -> bool:
        return True  # true even when empty, as in redis-py

    def multi(self) -> None:
        """Queue commands from now on, after `watch`."""
        if self._is_explicit:
            raise ResponseError("Cannot issue nested calls to MULTI")
        if self._queued:
            raise ResponseError("Commands without an initial WATCH have already been issued")
        self._is_explicit = True

    def _clear(self) -> None:
        self._queued = []
        self._watched = {}
        self._is_explicit = False

    def _names_to_watch(self, names: tuple[Key, ...]) -> list[bytes]:
        if self._is_explicit or self._queued:
            raise ResponseError("Cannot issue a WATCH after a MULTI")
        return encode_some_names(names, (), "watch")

    def _note(self, watched: Watched) -> bool:
        for key, found in watched.items():
            self._watched.setdefault(key, found)  # the first value seen is the one that counts
        return True

    @property
    def _runs_at_once(self) -> bool:
        return bool(self._watched) and not self._is_explicit

    def _take(self) -> tuple[Watched, list[Queued]]:
        """Return what has to be run, and empty the pipeline for reuse."""
        work = self._watched, self._queued
        self._clear()
        return work

    def _query(self, command: Callable[Concatenate[Records, P], Op[T]], *args: P.args, **kwargs: P.kwargs) -> Any:
        if self._runs_at_once:
            return self._handle._query(command, *args)
        self._queued.append(Queued(command, args, False))
        return self

    def _write(self, command: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs) -> Any:
        if self._runs_at_once:
            return self._handle._write(command, *args)
        self._queued.append(Queued(command, args, True))
        return self

    def _wait_for(
        self,
        timeout: float | None,
        names: list[bytes],
        command: Callable[Concatenate[Transaction, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Any:
        return self._write(command, *args, **kwargs)


def read_watched(records: Records, keys: list[bytes]) -> Op[Watched]:
    """Return what the keys hold."""
    return dict(zip(keys, (yield from records.find_all(keys)), strict=True))


def run_queued(tx: Transaction, watched: Watched, queued: Sequence[Queued]) -> list[Any]:
    """Run a pipeline as a command of the writer.

    A failed command's error takes the place of its answer.
    """
    for key, seen in watched.items():
        if tx.get(key) != seen:
            raise WatchError("Watched variable changed.")
    answers: list[Any] = []
    for one in queued:
        try:
            if one.is_write:
                answers.append(tx.run_nested(one.command, one.args))
            else:
                answers.append(tx.complete(one.command(tx, *one.args)))
        except Exception as error:  # noqa: BLE001 - such as errors of score_cast_func
            answers.append(error)
    return answers


def run_reads(records: Records, queued: Sequence[Queued]) -> Op[list[Any]]:
    """Run a pipeline that only reads, on one view and without waiting for the writer."""
    answers: list[Any] = []
    for one in queued:
        try:
            answers.append((yield from one.command(records, *one.args)))
        except OSError as error:
            answers.append(named(error, "reading"))
        except Exception as error:  # noqa: BLE001 - such as errors of score_cast_func
            answers.append(error)
    return answers


def finish(answers: list[Any], raise_on_error: bool) -> list[Any]:
    """Return the answers, or raise the first error."""
    if raise_on_error:
        for i, answer in enumerate(answers):
            if isinstance(answer, FerroKVError):
                answer.args = (f"Command # {i + 1} of pipeline caused error: {answer}",)
            if isinstance(answer, Exception):
                raise answer
    return answers
