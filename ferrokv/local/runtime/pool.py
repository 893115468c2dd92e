"""A few threads for reads that wait for the disk.

`ThreadPoolExecutor` will not do: the interpreter joins its threads at exit, and a child forked
without Python's hooks would wait forever for those of its parent. It also takes no work once the
interpreter has begun to exit.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, Final, ParamSpec, TypeVar

from .mailbox import Mailbox
from .threads import may_run

P = ParamSpec("P")
T = TypeVar("T")
Work = tuple["Future[Any]", Callable[..., Any], tuple[Any, ...], dict[str, Any]]
POOL_THREADS: Final = 4


class Pool(Executor):
    """Up to four threads, started on demand.

    If none can be started, the caller does the work itself.
    """

    def __init__(self) -> None:
        self._queue: Mailbox[Work | None] = Mailbox()
        self._threads: list[threading.Thread] = []
        self._idle = threading.Semaphore(0)
        self._starting = threading.Lock()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run `fn` in a thread, and return the future of its result."""
        future: Future[T] = Future()
        work = (future, fn, args, kwargs)
        if may_run() and (self._idle.acquire(blocking=False) or self._start() or self._threads):
            self._queue.put(work)
        else:
            _do(work)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Finish what was submitted, and end the threads."""
        with self._starting:
            threads, self._threads = self._threads, []
        for _ in threads:
            self._queue.put(None)
        if wait:
            for thread in threads:
                thread.join()

    def _start(self) -> bool:
        with self._starting:
            if len(self._threads) >= POOL_THREADS:
                return False
            thread = threading.Thread(target=self._run, name=f"ferrokv-io_{len(self._threads)}", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # thread limit reached, or the interpreter is exiting
                return False
            self._threads.append(thread)
            return True

    def _run(self) -> None:
        while (work := self._queue.get()) is not None:
            _do(work)
            del work  # before waiting, since it references the caller's arguments
            self._idle.release()


def _do(work: Work) -> None:
    future, fn, args, kwargs = work
    if not future.set_running_or_notify_cancel():
        return
    try:
        answer = fn(*args, **kwargs)
    except BaseException as error:  # noqa: BLE001 - for whoever waits for the future
        future.set_exception(error)
    else:
        future.set_result(answer)
