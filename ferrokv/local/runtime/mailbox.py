"""A queue that leaves nothing behind in a child that C code has forked.

Since Python 3.13, a thread that waits in `queue.SimpleQueue.get` is linked into a table of the
interpreter, and the link is on the thread's stack. A child forked without Python's hooks inherits
the table without the thread, and crashes when it follows that link (docs/decisions/0020-forks.md).
A `threading.Lock` belongs to its object, and the child makes new ones.
"""

from __future__ import annotations

import threading
from collections import deque
from queue import Empty
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """First in, first out, between any number of threads. Its length is the number of items."""

    __slots__ = ("_bell", "_items")

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._bell = threading.Lock()  # locked unless it was rung and nobody has heard it yet
        self._bell.acquire()

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T) -> None:
        """Append an item and wake one thread that waits. Never blocks."""
        try:
            self._items.append(item)
            self._ring()
        except BaseException:  # a signal handler raised, and what was appended must not be slept on
            self._ring()
            raise

    def get(self, timeout: float = -1) -> T:
        """Remove and return the oldest item. Wait for one, by default forever.

        `queue.Empty` after `timeout` seconds, or at most twice as long.
        """
        while True:
            try:
                return self.get_nowait()
            except Empty:
                if not self._bell.acquire(timeout=timeout):
                    raise

    def get_nowait(self) -> T:
        """Remove and return the oldest item; `queue.Empty` if there is none."""
        try:
            item = self._items.popleft()
        except IndexError:
            raise Empty from None
        if self._items:
            self._ring()  # several puts may have rung once, and another thread may wait
        return item

    def _ring(self) -> None:
        if self._bell.locked():
            try:
                self._bell.release()
            except RuntimeError:
                return  # another thread rang first
