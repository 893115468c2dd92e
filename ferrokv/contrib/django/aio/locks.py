"""Locks inside `pipelined`: what was written while holding one is seen by whoever has it next."""

from __future__ import annotations

from ferrokv import Lock

from ..pipelining import current


class AsyncAppendingLock(Lock):
    """A lock whose release comes behind everything that the block has gathered, and is durable together with it."""

    __slots__ = ()

    async def release(self) -> None:
        """As of its base."""
        pipelined = current()
        try:
            if pipelined is not None:
                await pipelined.aappend()
        finally:
            await super().release()
