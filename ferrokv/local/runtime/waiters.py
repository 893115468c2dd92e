"""Who waits for a write, and how the answer reaches it: a raw lock for threads, a future for event loops."""

from __future__ import annotations

import copy
from _thread import LockType, allocate_lock
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from ..log.transaction import Command

if TYPE_CHECKING:
    import asyncio


class Stopping(BaseException):
    """The store is closing, or a caller's slice is over: give up the work in hand."""


class Releasable(Protocol):
    """A lock that somebody waits for, or what else is to be told when an answer is there."""

    def release(self) -> None:
        """The answer is there."""


class Request:
    """A command on its way to the writer. `answer` or `error` is set before the waiter is told.

    A waiter that stops waiting (a cancelled task, an interrupted thread) does not stop the command.
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
        self.since = 0.0  # when it was queued, by the steady clock; 0 if it never was
        # False: the answer may come once the write is appended, because the waiter will ask for a sync later (faces/deferral.py).
        self.wants_sync = True
        self.makes_room = False  # True for the background's, which others wait for
        self.is_done = False  # True once `answer` or `error` is final
        self.answer: Any = None
        self.error: BaseException | None = None
        self.lock: Releasable | None = None
        self.future: asyncio.Future[Any] | None = None
        self.loop: asyncio.AbstractEventLoop | None = None

    def for_thread(self) -> LockType:
        """The lock that is released when the answer is there."""
        self.lock = lock = allocate_lock()
        lock.acquire()
        return lock

    def for_loop(self, loop: asyncio.AbstractEventLoop) -> asyncio.Future[Any]:
        """The future of the running loop that gets the answer."""
        self.loop = loop
        self.future = loop.create_future()
        return self.future

    def outcome(self) -> Any:
        """The answer, or raise the error."""
        if self.error is not None:
            raise self.error
        return self.answer


def without_frames(error: BaseException) -> BaseException:
    """The error, and what it was raised from, without tracebacks.

    Their frames know the request, which keeps the error: until the garbage collector runs, they would keep views and files, and
    the disk may be full.
    """
    seen: set[int] = set()  # an error that was raised twice may be its own context
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        link.__traceback__ = None
        link = link.__cause__ or link.__context__
    return error


def wants_sync(served: Sequence[Request]) -> bool:
    """True if somebody waits until it is durable."""
    return served[0].wants_sync or any(request.wants_sync for request in served)


def fail_all(requests: Iterable[Request], error: BaseException) -> None:
    """Give each request that has no error of its own a copy, since an exception can be raised in one thread only."""
    failed = [request for request in requests if request.error is None]
    for request in failed:
        if len(failed) == 1:
            request.error = error
        else:
            request.error = copy.copy(error)
            request.error.__cause__ = error


def deliver(requests: Sequence[Request]) -> None:
    """Wake every waiter: one call into each event loop, one release for each thread."""
    for request in requests:
        request.is_done = True
    if len(requests) == 1 and requests[0].loop is None:
        if requests[0].lock is not None:
            requests[0].lock.release()
        return  # else it was led by its own caller
    by_loop: dict[asyncio.AbstractEventLoop, list[Request]] = {}
    for request in requests:
        if request.lock is not None:
            request.lock.release()
        elif request.loop is not None:
            by_loop.setdefault(request.loop, []).append(request)
    for loop, waiting in by_loop.items():
        try:
            loop.call_soon_threadsafe(_resolve, waiting)
        except RuntimeError:
            continue  # the loop was closed, and nobody waits in it any more; the write stands


def _resolve(requests: list[Request]) -> None:
    for request in requests:
        future = request.future
        if future is None or future.done():
            continue
        if request.error is None:
            future.set_result(request.answer)
        elif isinstance(request.error, StopIteration):  # which no future takes
            future.set_exception(RuntimeError(f"a command raised {request.error!r}"))
        else:
            future.set_exception(request.error)
