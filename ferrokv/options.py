"""The options of a store: what each bounds, its default, and its limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Self, TypedDict

from .errors import DataError

MIB = 1 << 20


class Options(NamedTuple):
    """How much memory and disk a store uses for what. Every option has a default that suits a web application.

    None of them touches durability: there is no option that acknowledges a write before its fsync.
    """

    memtable_bytes: int = 8 * MIB
    """The WAL is rotated, and its memtable flushed to a table, beyond this size. Python needs about three times as much
    memory for the records."""

    sealed_memtables_max: int = 4
    """Writers wait when so many memtables are still to be flushed."""

    table_bytes: int = 16 * MIB
    """Compaction begins a new table beyond this size."""

    block_bytes: int = 4096
    """A block is closed at about this size; a point lookup reads one block."""

    level0_tables: int = 4
    """So many flushed tables start a compaction."""

    level0_slowdown: int = 0
    """From so many tables in level 0 on, writes slow down, the more the more there are. 0: twice `level0_tables`."""

    level0_stop: int = 0
    """With so many tables in level 0, writes wait for compaction, for `busy_timeout` at most. 0: five times `level0_tables`."""

    score_slowdown: int = 3
    """From such a compaction score on, writes slow down, and by each half more their speed halves. The score says how many times
    too full the fullest level is, with what lies too high above it."""

    level1_bytes: int = 64 * MIB
    """Level 1 holds so much, each further level ten times as much."""

    block_cache_bytes: int = 32 * MIB
    """Blocks, filters and indexes of tables kept in memory. What a read has just needed of one table stays, even if it is more."""

    hot_cache_bytes: int = 8 * MIB
    """Single records kept in memory in front of the blocks."""

    open_tables_max: int = 256
    """So many tables are kept open, but no more than a quarter of the descriptors that the process may have when it opens the
    store. The others are opened for each read."""

    busy_timeout: float = 5.0
    """Seconds that a write waits for room before it raises `StoreBusy`."""

    @classmethod
    def checked(cls, given: Mapping[str, Any]) -> Self:
        """Options by name. `DataError` names an unknown one, or one that is out of range."""
        unknown = sorted(set(given) - set(cls._fields))
        if unknown:
            raise DataError(f"unknown option: {', '.join(unknown)}; known are {', '.join(cls._fields)}")
        for name, value in given.items():
            kinds = (int, float) if name == "busy_timeout" else (int,)
            low, high = _LOWEST.get(name, 0), _HIGHEST.get(name, 1 << 48)
            if type(value) not in kinds or not low <= value <= high:
                raise DataError(f"option out of range: {name}={value!r} lowest={low} highest={high}")
        options = cls(**given)
        if not options.level0_tables <= options.slowdown_at <= options.stop_at:
            raise DataError(
                "compaction has to begin before writes slow down, and that before they wait: "
                f"level0_tables={options.level0_tables} level0_slowdown={options.slowdown_at} level0_stop={options.stop_at}"
            )
        return options

    @property
    def slowdown_at(self) -> int:
        """The number of tables in level 0 from which on writes slow down."""
        return self.level0_slowdown or 2 * self.level0_tables

    @property
    def stop_at(self) -> int:
        """The number of tables in level 0 with which writes wait."""
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
