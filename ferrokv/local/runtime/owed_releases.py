"""Writes that must happen although nobody waits for them: lock releases that failed.

A holder may be interrupted while releasing, or hit a full disk. A write that gets `StoreFull` or
`StoreBusy` was not applied. It is retried once a second until it succeeds, or until the store is
closed, which frees the locks of this process anyway.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from ...errors import FerroKVError, StoreBusy, StoreFull
from ..log.transaction import Command
from .waiters import WriterRequest

OWED_MAX: Final = 10_000  # beyond this, drop: the disk has been full for long, and locks have timeouts


class OwedReleases:
    """The owed writes of one store. All methods may be called from any thread."""

    def __init__(self, submit: Callable[[WriterRequest], None]) -> None:
        self._submit = submit
        self._late: deque[WriterRequest] = deque(maxlen=OWED_MAX)

    def add(self, command: Command, keyspace: str, args: tuple[Any, ...]) -> None:
        """Run a command now, or as soon as possible. Never raises or waits."""
        self._try(WriterRequest(command, keyspace, args))

    def retry(self) -> None:
        """Retry what failed before."""
        for _ in range(len(self._late)):
            try:
                late = self._late.popleft()
            except IndexError:
                return  # another thread is retrying, too
            self._try(WriterRequest(late.command, late.keyspace, late.args))

    def _try(self, request: WriterRequest) -> None:
        request.lock = _OutcomeListener(self, request)
        try:
            self._submit(request)
        except (StoreFull, StoreBusy):
            self._late.append(request)
        except FerroKVError:
            return

    def note(self, request: WriterRequest) -> None:
        """Keep the request for a retry if there was no room for it."""
        if isinstance(request.error, (StoreFull, StoreBusy)):
            self._late.append(request)


class _OutcomeListener:
    """Takes the place of a waiter's lock: told when the answer is there."""

    __slots__ = ("_owed", "_request")

    def __init__(self, owed: OwedReleases, request: WriterRequest) -> None:
        self._owed = owed
        self._request = request

    def release(self) -> None:
        """Take note of the answer."""
        self._owed.note(self._request)
