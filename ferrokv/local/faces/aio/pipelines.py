"""The pipelines that handles make."""

from __future__ import annotations

from typing import Any, Self

from ....contract.encoding import Key
from ..pipelines import Queue, finish, read_watched, run_queued, run_reads


class Pipeline(Queue):
    """Commands that run together, created by `pipeline` of a handle.

    Between `watch` and `multi`, they run at once instead; for asyncio, they have to be awaited then.
    """

    __slots__ = ()

    async def watch(self, *names: Key) -> bool:
        """Watch keys: `execute` raises `WatchError` if one of them changes first. Returns True.

        Commands run at once until `multi`.
        """
        return self._note(await self._handle._query(read_watched, self._names_to_watch(names)))

    async def unwatch(self) -> bool:
        """Stop watching all keys. Returns True."""
        self._watched = {}
        return True

    async def reset(self) -> None:
        """Discard all commands and watches, so that the pipeline can be reused."""
        self._clear()

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Run all commands atomically with one sync, and return their answers in order.

        As in Redis, a command that fails does not undo the others. Its error is raised after all
        commands have run, or put in its place in the list if `raise_on_error` is False.
        `WatchError` is raised before anything runs.
        """
        watched, queued = self._take()
        if not watched and not any(one.is_write for one in queued):
            return finish(await self._handle._query(run_reads, queued) if queued else [], raise_on_error)
        return finish(await self._handle._write(run_queued, watched, queued), raise_on_error)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        self._clear()
