"""What a store turns into when it is closed, so that every later use raises."""

from __future__ import annotations

from threading import Thread

from ...errors import FerroKVError, StoreClosed


class ClosedStore:
    """What a store, or the store of a closed handle, turns into. Every use raises `StoreClosed`."""

    def __init__(self, why: str, error: type[FerroKVError] = StoreClosed) -> None:
        self.why = why
        self.error = error

    def owns_thread(self, thread: Thread) -> bool:
        """False: there are no threads."""
        return False

    def refuse_reentry(self) -> None:
        """Nothing to refuse: no work is running."""

    def __getattr__(self, name: str) -> object:
        raise self.error(f"{self.why}; open it again")


class ClosedWords:
    """What a closed store's control page turns into, for readers still running in other threads."""

    def __getitem__(self, index: int, /) -> int:
        raise StoreClosed("the store was closed meanwhile; open it again")

    def __setitem__(self, index: int, value: int, /) -> None:
        raise StoreClosed("the store was closed meanwhile; open it again")
