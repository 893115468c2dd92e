"""What stands in for things that are closed, so that every later use raises."""

from __future__ import annotations

from ...errors import StoreClosed


class ClosedStore:
    """Stands in for the store in a handle or snapshot that was closed."""

    def __init__(self, why: str) -> None:
        self.why = why

    def __getattr__(self, name: str) -> object:
        raise StoreClosed(f"{self.why}; open it again")


class ClosedWords:
    """What a closed store's control page turns into, for readers still running in other threads."""

    def __getitem__(self, index: int, /) -> int:
        raise StoreClosed("the store was closed meanwhile; open it again")

    def __setitem__(self, index: int, value: int, /) -> None:
        raise StoreClosed("the store was closed meanwhile; open it again")
