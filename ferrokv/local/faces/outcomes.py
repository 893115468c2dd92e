"""Commands of a deferral on their way: what they take along, and what comes back."""

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
"""A keyspace and a user key."""


class Entry(NamedTuple):
    """A gathered write: the value or None to delete, when it expires or 0, and whether nobody minds if it is lost."""

    value: bytes | None
    expires_ms: int
    forgiving: bool


class Outcome(NamedTuple):
    """What a command answered or raised; the records that it wrote, and keys of those that it may have seen undurable."""

    answer: Any
    error: Exception | None
    changes: dict[bytes, Any]
    seen: set[bytes]
    prefixes: dict[str, bytes]
    remade: bool  # a keyspace was cleared or made, and that is not durable


class Asked(NamedTuple):
    """A request on its way, what of the gathered writes it took along, COMMIT before it, and whether its own failure is minded."""

    request: Request
    taken: dict[Name, Entry]
    commit: int
    minded: bool


def run_deferred(
    tx: Transaction, taken: dict[Name, Entry], command: Callable[..., Any] | None, args: tuple[Any, ...]
) -> Outcome:
    """Gathered writes and then a command, as one command. What the command raises leaves the gathered writes standing."""
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
        except Exception as raised:  # noqa: BLE001 - also what a function of the caller's raises
            error = raised
    prefixes = dict(tx.catalogue.prefixes)
    return Outcome(answer, error, dict(tx.changes), tx.unsynced_keys(), prefixes, tx.is_catalogue_unsynced)


def run_read(tx: Transaction, command: Callable[..., Op[T]], args: tuple[Any, ...]) -> T:
    """A command that only reads, on the newest state."""
    answer: T = tx.complete(command(tx, *args))
    return answer


def wake(request: Request) -> None:
    """Tell the waiter of a request that never reached the writer."""
    if request.lock is not None:
        request.lock.release()
    elif request.loop is not None and request.future is not None:
        with suppress(RuntimeError):  # the loop was closed, and nobody waits in it any more
            request.loop.call_soon_threadsafe(_fail_future, request)


def _fail_future(request: Request) -> None:
    if request.future is not None and not request.future.done() and request.error is not None:
        request.future.set_exception(request.error)
