"""The requests that a deferral sends to the writer: what they take along, and what comes back."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

from ..log.transaction import Transaction
from ..runtime.waiters import Request
from ..storage.requests import Op
from .pipelines import run_nested

T = TypeVar("T")
Name = tuple[str, bytes]
"""Keyspace and user key."""


class Entry(NamedTuple):
    """A collected write that has not reached the writer yet.

    `value` is None for a deletion, and `expires_ms` 0 without a TTL. `forgiving` means that losing
    the write is logged and not raised.
    """

    value: bytes | None
    expires_ms: int
    forgiving: bool


class Outcome(NamedTuple):
    """What a command returned or raised, and what it changed.

    `changes` are the records that it wrote; `seen` are keys that it may have read before they were
    durable.
    """

    answer: Any
    error: Exception | None
    changes: dict[bytes, Any]
    seen: set[bytes]
    prefixes: dict[str, bytes]
    remade: bool  # a keyspace was cleared or created, and that is not durable yet


class Asked(NamedTuple):
    """A request on its way.

    `taken` are the collected writes it took along, `commit` is COMMIT before it was sent, and
    `minded` says whether its own failure has to be raised.
    """

    request: Request
    taken: dict[Name, Entry]
    commit: int
    minded: bool


def run_deferred(
    tx: Transaction, taken: dict[Name, Entry], command: Callable[..., Any] | None, args: tuple[Any, ...]
) -> Outcome:
    """Run collected writes and then a command, as one command of the writer.

    If the command raises, the collected writes still count.
    """
    answer = error = None
    for (keyspace, key), entry in taken.items():
        inside = tx.inside(keyspace)
        if entry.value is None:
            inside.delete(key)
        else:
            inside.put(key, entry.value, entry.expires_ms)
    if command is not None:
        try:
            answer = run_nested(tx, command, args)
        except Exception as raised:  # noqa: BLE001 - includes whatever a caller's function raises
            error = raised
    prefixes = dict(tx.catalogue.prefixes)
    return Outcome(answer, error, dict(tx.changes), tx.unsynced_keys(), prefixes, tx.is_catalogue_unsynced)


def run_read(tx: Transaction, command: Callable[..., Op[T]], args: tuple[Any, ...]) -> T:
    """Run a command that only reads, on the newest state."""
    answer: T = tx.complete(command(tx, *args))
    return answer


def wake(request: Request) -> None:
    """Wake the waiter of a request that never reached the writer."""
    if request.lock is not None:
        request.lock.release()
    elif request.loop is not None and request.future is not None:
        with suppress(RuntimeError):  # the loop was closed, so nobody waits in it any more
            request.loop.call_soon_threadsafe(_fail_future, request)


def _fail_future(request: Request) -> None:
    if request.future is not None and not request.future.done() and request.error is not None:
        request.future.set_exception(request.error)
