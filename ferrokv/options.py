"""The options of a store: what each one limits, its default, and its range."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, Final, Literal, NamedTuple, Self, TypedDict

from .errors import DataError

MIB = 1 << 20


class Unchanged(Enum):
    """The type of `UNCHANGED`, so that type checkers can tell it from a number."""

    UNCHANGED = "UNCHANGED"


UNCHANGED: Final = Unchanged.UNCHANGED
"""A quota to leave as it is."""
Quota = int | None | Literal[Unchanged.UNCHANGED]
"""Bytes that a keyspace may hold; None for no limit."""


class Options(NamedTuple):
    """How much memory and disk a store may use. The defaults suit a web application.

    No option weakens durability: no write is ever acknowledged before its fsync.
    """

    memtable_bytes: int = 8 * MIB
    """Size at which the WAL is rotated and its memtable flushed to a table. The records take about
    three times as much memory in Python."""

    sealed_memtables_max: int = 4
    """Writers wait while this many memtables are waiting to be flushed."""

    table_bytes: int = 16 * MIB
    """Compaction starts a new table beyond this size."""

    block_bytes: int = 4096
    """Approximate size of a block. A point lookup reads one block."""

    level0_tables: int = 4
    """Number of tables in level 0 (flushed, not yet compacted) that starts a compaction."""

    level0_slowdown: int = 0
    """Number of tables in level 0 from which writes slow down; each further table slows them more.
    0 means twice `level0_tables`."""

    level0_stop: int = 0
    """Number of tables in level 0 at which writes wait for compaction, for at most `busy_timeout`
    seconds. 0 means five times `level0_tables`."""

    score_slowdown: int = 3
    """Compaction score from which writes slow down; each further 0.5 halves their speed. The score
    is how many times over its limit the fullest level is, with data on its way down to it."""

    level1_bytes: int = 64 * MIB
    """Capacity of level 1. Each further level holds ten times as much as the one above it."""

    block_cache_bytes: int = 32 * MIB
    """Cache for blocks, filters and indexes of tables. Filters and index summaries of the table
    that was just read stay in memory even if they exceed this size."""

    hot_cache_bytes: int = 8 * MIB
    """Cache for single records, consulted before the block cache."""

    open_tables_max: int = 256
    """Number of tables kept open, capped at a quarter of the file descriptors that the process may
    have when it opens the store. Other tables are opened for each read."""

    busy_timeout: float = 5.0
    """Seconds that a write waits for room or for a lock before it raises `StoreBusy`."""

    @classmethod
    def checked(cls, given: Mapping[str, Any]) -> Self:
        """Build options from a mapping. `DataError` names one that is unknown or out of range."""
        unknown = sorted(set(given) - set(cls._fields))
        if unknown:
            raise DataError(f"unknown option: {', '.join(unknown)}; known options: {', '.join(cls._fields)}")
        for name, value in given.items():
            kinds = (int, float) if name == "busy_timeout" else (int,)
            low, high = _LOWEST.get(name, 0), _HIGHEST.get(name, 1 << 48)
            if type(value) not in kinds or not low <= value <= high:
                raise DataError(f"option out of range: {name}={value!r} lowest={low} highest={high}")
        options = cls(**given)
        if not options.level0_tables <= options.slowdown_at <= options.stop_at:
            raise DataError(
                "level 0 limits must satisfy level0_tables <= level0_slowdown <= level0_stop: "
                f"level0_tables={options.level0_tables} level0_slowdown={options.slowdown_at} level0_stop={options.stop_at}"
            )
        return options

    @property
    def slowdown_at(self) -> int:
        """The number of tables in level 0 from which writes slow down, default resolved."""
        return self.level0_slowdown or 2 * self.level0_tables

    @property
    def stop_at(self) -> int:
        """The number of tables in level 0 at which writes wait, with the default resolved."""
        return self.level0_stop or 5 * self.level0_tables


class OpenOptions(TypedDict, total=False):
    """The same as keyword arguments of `open`, for type checkers. `Options` says what each means."""

    memtable_bytes: int
    sealed_memtables_max: int
    table_bytes: int
    block_bytes: int
    level0_tables: int
    level0_slowdown: int
    level0_stop: int
    score_slowdown: int
    level1_bytes: int
    block_cache_bytes: int
    hot_cache_bytes: int
    open_tables_max: int
    busy_timeout: float


_LOWEST: Final = {
    "memtable_bytes": 64,
    "sealed_memtables_max": 1,
    "table_bytes": 64,
    "block_bytes": 64,
    "level0_tables": 1,
    "open_tables_max": 1,
    "score_slowdown": 1,
}
_HIGHEST: Final = {"memtable_bytes": 1 << 30}
