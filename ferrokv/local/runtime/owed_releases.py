"""Writes that nobody waits for and that have to happen: the release of a lock whose holder was interrupted, or met a full disk.

One that meets `StoreFull` or `StoreBusy` was not applied. It is tried again once a second until it is, or until the store is
closed, which frees the locks of this process anyway.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from ...errors import FerroKVError, StoreBusy, StoreFull
from ..log.transaction import Command
from .waiters import Request

OWED_MAX: Final = 10_000  # those beyond are given up: the disk has been full for long, and locks have timeouts


class Owed:
    """Of one store. All methods from any thread."""

    def __init__(self, submit: Callable[[Request], None]) -> None:
        self._submit = submit
        self._late: deque[Request] = deque(maxlen=OWED_MAX)

    def owe(self, command: Command, keyspace: str, args: tuple[Any, ...]) -> None:
        """Have the command done, now or as soon as it can be. Never raises, never waits."""
        self._try(Request(command, keyspace, args))

    def pay(self) -> None:
        """Try again what could not be done."""
        for _ in range(len(self._late)):
            try:
                late = self._late.popleft()
            except IndexError:
                return  # another thread pays, too
            self._try(Request(late.command, late.keyspace, late.args))

    def _try(self, request: Request) -> None:
        request.lock = _Receipt(self, request)
        try:
            self._submit(request)
        except (StoreFull, StoreBusy):
            self._late.append(request)
        except FerroKVError:
            return

    def note(self, request: Request) -> None:
        """What came of it."""
        if isinstance(request.error, (StoreFull, StoreBusy)):
            self._late.append(request)


class _Receipt:
    """In the place of a waiter's lock: told when the answer is there."""

    __slots__ = ("_owed", "_request")

    def __init__(self, owed: Owed, request: Request) -> None:
        self._owed = owed
        self._request = request

    def release(self) -> None:
        """The answer is there."""
        self._owed.note(self._request)
