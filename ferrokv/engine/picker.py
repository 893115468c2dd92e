"""What to compact next: a pure decision over a version. Leveled compaction as LevelDB's doc/impl.md describes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from ..options import Options
from .engine import EXPIRY_GRACE_MS
from .survivors import Survivors
from .table import Table
from .version import LEVELS, Version

LEVEL_FACTOR: Final = 10


class Drop(NamedTuple):
    """Tables that can go without being read: everything in them is dead and hides nothing."""

    tables: tuple[Table, ...]


class Move(NamedTuple):
    """A table that overlaps nothing below: it changes its level without being read."""

    table: Table
    level: int


class Merging(NamedTuple):
    """Tables `upper` of `level` to be merged with `lower` of the next one, into the next one.

    Level -1 stands for the newest of level 0, which stay there. With `stripped`, records that newer levels hide are left out.
    """

    level: int
    upper: tuple[Table, ...]
    lower: tuple[Table, ...]
    stripped: bool = False


Choice = Drop | Move | Merging


def pick(version: Version, options: Options, survivors: Survivors, cursors: Mapping[int, bytes]) -> Choice | None:
    """The most useful compaction, or None. `cursors` says for each level behind which key the last one ended."""
    dead = tuple(table for table in version.tables() if droppable(version, table, survivors))
    if dead:
        return Drop(dead)
    if len(version.levels[0]) >= options.level0_tables:
        return merge_level0(version)
    scores = [
        (version.level_bytes(level) / level_bytes_max(level, options), -level)
        for level in range(1, LEVELS - 1)
        if version.levels[level]
    ]
    score, negative_level = max(scores, default=(0.0, 0))
    if score > 1:
        return push_down(version, -negative_level, _next_table(version, -negative_level, cursors))
    for level in range(1, LEVELS - 1):
        for table in version.levels[level]:
            if table.meta.tombstones * 2 > table.meta.records:
                return push_down(version, level, table)
    return None


def pick_everything(version: Version) -> Choice | None:
    """The next step of a full compaction: all tables of the highest used level into the next, down to one level."""
    used = [level for level in range(LEVELS) if version.levels[level]]
    if not used:
        return None
    if used[0] == 0:
        return merge_level0(version)
    if len(used) == 1 and not any(table.meta.tombstones for table in version.levels[used[0]]):
        return None
    level = used[0]
    if level == LEVELS - 1:
        return None
    return Merging(level, version.levels[level], version.levels[level + 1])


def level_bytes_max(level: int, options: Options) -> int:
    """How many bytes a level may hold before it is compacted."""
    return max(1, options.level1_bytes * int(LEVEL_FACTOR ** (level - 1)))


def droppable(version: Version, table: Table, survivors: Survivors) -> bool:
    """True if nothing in the table is alive, and dropping it uncovers nothing."""
    if survivors.dead_range(table.min_key, table.max_key):
        return True
    if not table.meta.expired_before(survivors.now_ms - EXPIRY_GRACE_MS):
        return False
    level = table.meta.level
    if level == 0:
        older = [t for t in version.levels[0] if t.number < table.number]
        if any(t.min_key <= table.max_key and table.min_key <= t.max_key for t in older):
            return False
    return not version.overlaps_below(level, table.min_key, table.max_key)


def merge_level0(version: Version) -> Merging:
    """All of level 0 with what it overlaps in level 1."""
    upper = version.levels[0]
    low = min(table.min_key for table in upper)
    high = max(table.max_key for table in upper)
    return Merging(0, upper, tuple(version.overlapping(1, low, high)))


def push_down(version: Version, level: int, table: Table) -> Choice:
    """One table of a level into the next."""
    lower = tuple(version.overlapping(level + 1, table.min_key, table.max_key))
    if not lower and not table.meta.tombstones:
        return Move(table, level + 1)
    return Merging(level, (table,), lower)


def rewriting(table: Table) -> Merging:
    """A table merged with nothing, into its own level."""
    return Merging(table.meta.level - 1, (), (table,))


def _next_table(version: Version, level: int, cursors: Mapping[int, bytes]) -> Table:
    """Round robin through the key range, so that every part of a level gets its turn."""
    cursor = cursors.get(level, b"")
    tables = version.levels[level]
    return next((table for table in tables if table.min_key > cursor), tables[0])
