"""A version: the tables that make up the store at one moment, level by level."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Final

from ..format.limits import LEVELS as LEVELS
from ..storage.requests import Op
from .table import Table

_min_key: Final[Callable[[Table], bytes]] = attrgetter("min_key")


class Version:
    """The tables of each level. Immutable.

    Level 0 is ordered from new to old, and its tables may overlap. From level 1 on, the tables of a
    level are in key order and do not overlap.
    """

    __slots__ = ("_runs", "levels", "numbers")

    def __init__(self, levels: tuple[tuple[Table, ...], ...]) -> None:
        assert len(levels) == LEVELS
        self.levels = levels
        self.numbers = frozenset(table.number for level in levels for table in level)
        # For point reads: the levels that have tables, each with the keys to bisect.
        self._runs = [([table.max_key for table in level], level) for level in levels[1:] if level]

    def candidates(self, key: bytes) -> list[Table]:
        """Return the tables whose key range contains `key`, from new to old."""
        found = []
        for table in self.levels[0]:
            if table.min_key <= key <= table.max_key:
                found.append(table)
        for max_keys, level in self._runs:
            i = bisect_left(max_keys, key)
            if i < len(max_keys) and level[i].min_key <= key:
                found.append(level[i])
        return found

    def runs(self, low: bytes, high: bytes | None) -> list[Sequence[Table]]:
        """Return the tables that overlap [low, high), from old to new, as non-overlapping runs."""
        found: list[Sequence[Table]] = []
        for max_keys, level in reversed(self._runs):
            first = bisect_left(max_keys, low)
            end = len(level) if high is None else bisect_left(level, high, first, key=_min_key)
            if first < end:
                found.append(level[first:end])
        for table in reversed(self.levels[0]):
            if low <= table.max_key and (high is None or table.min_key < high):
                found.append((table,))
        return found

    def overlapping(self, level: int, low: bytes, high: bytes) -> list[Table]:
        """Return the tables of a level that overlap [low, high], a closed range, in order."""
        return [table for table in self.levels[level] if table.min_key <= high and low <= table.max_key]

    def overlaps_below(self, level: int, low: bytes, high: bytes) -> bool:
        """Return True if a table below `level` overlaps the closed range [low, high]."""
        return any(self.overlapping(deeper, low, high) for deeper in range(level + 1, LEVELS))

    def tables(self) -> list[Table]:
        """Return all tables."""
        return [table for level in self.levels for table in level]

    def level_bytes(self, level: int) -> int:
        """Return the size of all tables of a level."""
        return sum(table.meta.file_bytes for table in self.levels[level])

    def held(self) -> Op[Version]:
        """Return the version with a descriptor for each table, for readers that cannot pin.

        Raises `TableGoneError` if a file is gone, `StoreBusy` if there are not enough descriptors.
        """
        levels = []
        for level in self.levels:
            tables = []
            for table in level:
                tables.append((yield from table.held()))
            levels.append(tuple(tables))
        return Version(tuple(levels))

    def changed(self, added: Iterable[Table], removed: Iterable[int]) -> Version:
        """Return the version after an edit."""
        added = tuple(added)
        gone = {
            *removed,
            *(table.number for table in added),
        }  # also the added ones: a reader may have loaded the edit from the manifest already
        levels = [[table for table in level if table.number not in gone] for level in self.levels]
        for table in added:
            levels[table.meta.level].append(table)
        levels[0].sort(key=lambda table: -table.number)
        for level in levels[1:]:
            level.sort(key=lambda table: table.min_key)
        return Version(tuple(tuple(level) for level in levels))


EMPTY: Final = Version(((),) * LEVELS)
