"""What a deferral has the writer run, and how a waiter hears of a request that never got there."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from ...log.transaction import Transaction
from ...storage.requests import Op
from ..waiters import WriterRequest
from .ledger import CollectedWrite, Name, Outcome

T = TypeVar("T")


def run_deferred(
    tx: Transaction, taken: dict[Name, CollectedWrite], command: Callable[..., Any] | None, args: tuple[Any, ...]
) -> Outcome:
    """Run collected writes and then a command, as one command of the writer.

    If the command raises, the collected writes still count.
    """
    answer = error = None
    for (keyspace, key), write in taken.items():
        inside = tx.inside(keyspace)
        if write.value is None:
            inside.delete(key)
        else:
            inside.put(key, write.value, write.expires_ms)
    if command is not None:
        try:
            answer = tx.run_nested(command, args)
        except Exception as raised:  # noqa: BLE001 - includes whatever a caller's function raises
            error = raised
    prefixes = dict(tx.catalogue.prefixes)
    return Outcome(answer, error, dict(tx.changes), tx.unsynced_records(), prefixes, tx.is_catalogue_unsynced)


def run_read(tx: Transaction, command: Callable[..., Op[T]], args: tuple[Any, ...]) -> T:
    """Run a command that only reads, on the newest state."""
    answer: T = tx.complete(command(tx, *args))
    return answer


def wake(request: WriterRequest) -> None:
    """Wake the waiter of a request that never reached the writer."""
    if request.lock is not None:
        request.lock.release()
    elif request.loop is not None and request.future is not None:
        with suppress(RuntimeError):  # the loop was closed, so nobody waits in it any more
            request.loop.call_soon_threadsafe(_fail_future, request)


def _fail_future(request: WriterRequest) -> None:
    if request.future is not None and not request.future.done() and request.error is not None:
        request.future.set_exception(request.error)
