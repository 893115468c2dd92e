"""Requests to the writer, and how their answers reach the caller: a lock or an asyncio future."""

from __future__ import annotations

import copy
from _thread import LockType, allocate_lock
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from ..log.transaction import Command

if TYPE_CHECKING:
    import asyncio


REENTERED: Final = (
    "a write cannot begin in the middle of its own thread's write: inside `transaction`, use the function's argument;"
    " a signal handler or destructor has to write later"
)


class Stopping(BaseException):
    """The store is closing, or a caller's slice is over: abandon the current work."""


class Releasable(Protocol):
    """A lock that somebody waits for, or anything else to be told of an answer."""

    def release(self) -> None:
        """Called when the answer is there."""


class WriterRequest:
    """A command on its way to the writer.

    `answer` or `error` is set before the waiter is told. A waiter that stops waiting (a cancelled
    task, an interrupted thread) does not stop the command.
    """

    __slots__ = (
        "answer",
        "args",
        "command",
        "error",
        "future",
        "is_done",
        "keyspace",
        "lock",
        "loop",
        "makes_room",
        "since",
        "wants_sync",
    )

    def __init__(self, command: Command | None, keyspace: str, args: tuple[Any, ...]) -> None:
        self.command = command
        self.keyspace = keyspace
        self.args = args
        self.since = 0.0  # steady clock time at which it was queued; 0 if it was not
        # If False, the answer may come once the write is appended, because the waiter will ask for
        # a sync later (deferrals/driver.py).
        self.wants_sync = True
        self.makes_room = False  # True for requests of the background, which others wait for
        self.is_done = False  # True once `answer` or `error` is final
        self.answer: Any = None
        self.error: BaseException | None = None
        self.lock: Releasable | None = None
        self.future: asyncio.Future[Any] | None = None
        self.loop: asyncio.AbstractEventLoop | None = None

    def for_thread(self) -> LockType:
        """Return a lock that is released when the answer is there."""
        self.lock = lock = allocate_lock()
        lock.acquire()
        return lock

    def for_loop(self, loop: asyncio.AbstractEventLoop) -> asyncio.Future[Any]:
        """Return a future of the running loop that gets the answer."""
        self.loop = loop
        self.future = loop.create_future()
        return self.future

    def outcome(self) -> Any:
        """Return the answer, or raise the error."""
        if self.error is not None:
            raise self.error
        return self.answer


def without_frames(error: BaseException) -> BaseException:
    """Return the error, with its tracebacks and those of its causes removed.

    The frames know the request, which keeps the error. Until garbage collection, this cycle would
    keep views and files alive, and the disk may be full.
    """
    seen: set[int] = set()  # an error raised twice may be its own context
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        link.__traceback__ = None
        link = link.__cause__ or link.__context__
    return error


def wants_sync(served: Sequence[WriterRequest]) -> bool:
    """True if anybody waits until the write is durable."""
    return served[0].wants_sync or any(request.wants_sync for request in served)


def fail_all(requests: Iterable[WriterRequest], error: BaseException) -> None:
    """Give the error to each request that has none.

    Each gets a copy, since one exception cannot be raised in several threads.
    """
    failed = [request for request in requests if request.error is None]
    for request in failed:
        if len(failed) == 1:
            request.error = error
        else:
            request.error = copy.copy(error)
            request.error.__cause__ = error


def deliver(requests: Sequence[WriterRequest]) -> None:
    """Wake all waiters: one call into each event loop, one release for each thread."""
    for request in requests:
        request.is_done = True
    if len(requests) == 1 and requests[0].loop is None:
        if requests[0].lock is not None:
            requests[0].lock.release()
        return  # otherwise its own caller led it
    by_loop: dict[asyncio.AbstractEventLoop, list[WriterRequest]] = {}
    for request in requests:
        if request.lock is not None:
            request.lock.release()
        elif request.loop is not None:
            by_loop.setdefault(request.loop, []).append(request)
    for loop, waiting in by_loop.items():
        try:
            loop.call_soon_threadsafe(_resolve, waiting)
        except RuntimeError:
            continue  # the loop was closed, so nobody waits in it; the write stands


def _resolve(requests: list[WriterRequest]) -> None:
    for request in requests:
        future = request.future
        if future is None or future.done():
            continue
        if request.error is None:
            future.set_result(request.answer)
        elif isinstance(request.error, StopIteration):  # a future cannot hold it
            future.set_exception(RuntimeError(f"a command raised {request.error!r}"))
        else:
            future.set_exception(request.error)
