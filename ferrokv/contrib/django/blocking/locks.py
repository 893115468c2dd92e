# Made by `python -m tools.make_twins` from contrib/django/aio/locks.py; edit that.
"""Locks inside `pipelined`: the next holder sees what was written under the lock."""

from __future__ import annotations

from ferrokv import BlockingLock

from ..pipelining import current


class BlockingAppendingLock(BlockingLock):
    """A lock whose release comes after everything the block has collected.

    The release becomes durable together with it.
    """

    __slots__ = ()

    def release(self) -> None:
        """Append what the block has collected, then release the lock."""
        pipelined = current()
        try:
            if pipelined is not None:
                pipelined.append()
        finally:
            super().release()
