"""Locks inside `pipelined`: the next holder sees what was written under the lock."""

from __future__ import annotations

from ferrokv import Lock

from ..pipelining import current


class AsyncAppendingLock(Lock):
    """A lock whose release comes after everything the block has collected.

    The release becomes durable together with it.
    """

    __slots__ = ()

    async def release(self) -> None:
        """Append what the block has collected, then release the lock."""
        pipelined = current()
        try:
            if pipelined is not None:
                await pipelined.aappend()
        finally:
            await super().release()
