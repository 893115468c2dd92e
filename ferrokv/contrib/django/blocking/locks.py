# Made by `python -m tools.make_twins` from contrib/django/aio/locks.py; edit that.
"""Locks inside `pipelined`: what was written while holding one is seen by whoever has it next."""

from __future__ import annotations

from ferrokv import BlockingLock

from ..pipelining import current


class BlockingAppendingLock(BlockingLock):
    """A lock whose release comes behind everything that the block has gathered, and is durable together with it."""

    __slots__ = ()

    def release(self) -> None:
        """As of its base."""
        pipelined = current()
        try:
            if pipelined is not None:
                pipelined.append()
        finally:
            super().release()
