"""Choosing what to compact next, by a pure function of a version and a few facts.

This is leveled compaction, as LevelDB's doc/impl.md describes it. In order of preference: drop
tables in which everything is dead; resume a merge that is installed in parts; push tables of the
level that is too full by the largest factor into the next one (level 0 before all others once it
slows writers down); push down a table that is mostly tombstones.
"""

from __future__ import annotations

import math
from collections.abc import Container, Mapping
from typing import Final, NamedTuple

from ...options import Options
from ..engine.engine import EXPIRY_GRACE_MS
from ..format.edits import NO_MERGE, MergeProgress
from ..tree.table import Table
from ..tree.version import LEVELS, Version
from .survivors import Survivors

LEVEL_FACTOR: Final = 10
MERGED_FACTOR: Final = 3  # one merge takes at most so many times `level0_tables` tables of level 0


class Drop(NamedTuple):
    """Tables that can be dropped without being read: everything in them is dead, and hides nothing."""

    tables: tuple[Table, ...]


class Move(NamedTuple):
    """A table that overlaps nothing in the next level. It is moved there without being read."""

    table: Table
    level: int


class Merging(NamedTuple):
    """A merge of tables `upper` of `level` with tables `lower` of `target`, into that level.

    Records up to and including the key `done` are in the target level already. With `stripped`,
    records that newer levels hide are dropped.
    """

    level: int
    upper: tuple[Table, ...]
    lower: tuple[Table, ...]
    target: int
    done: bytes = b""
    stripped: bool = False

    @property
    def inputs(self) -> tuple[Table, ...]:
        """All tables that the merge reads."""
        return (*self.upper, *self.lower)


Choice = Drop | Move | Merging


class PickerContext(NamedTuple):
    """What a choice depends on beside the version."""

    cursors: Mapping[int, bytes] = {}  # level -> smallest key of the table that was compacted last
    merge: MergeProgress = NO_MERGE  # the merge under way
    damaged: Container[int] = ()
    """Numbers of tables that could not be read. No choice reads one of them."""


def pick(version: Version, options: Options, survivors: Survivors, context: PickerContext) -> Choice | None:
    """Return the most useful compaction, or None."""
    dead = tuple(table for table in version.tables() if droppable(version, table, survivors))
    if dead:
        return Drop(dead)
    under_way = resume(version, context)
    if under_way is not None:
        return under_way
    for level in _fullest_levels(version, options):
        choice = _push_level(version, options, level, context)
        if choice is not None:
            return choice
    for level in range(1, LEVELS - 1):
        for table in version.levels[level]:
            if table.meta.tombstones * 2 > table.meta.records:
                choice = readable(push_down(version, level, table), context)
                if choice is not None:
                    return choice
    return None


def pick_everything(version: Version, options: Options, context: PickerContext) -> Choice | None:
    """Return the next step of a full compaction, or None at its end.

    Each step pushes a few tables of the highest level that has any into the next one, until only
    one level is left.
    """
    under_way = resume(version, context)
    if under_way is not None:
        return under_way
    used = [level for level in range(LEVELS) if version.levels[level]]
    if not used:
        return None
    if used[0] == 0:
        choice = readable(merge_level0(version, options, context), context)
        if choice is not None:
            return choice
    deepest = used[-1]
    for level in used:
        if level == 0 or level == LEVELS - 1:
            continue
        # Only one level is left. Push its tables down only to get rid of tombstones.
        if level == deepest and not any(table.meta.tombstones for table in version.levels[level]):
            continue
        choice = _next_group(version, options, level, context)
        if choice is not None:
            return choice
    return None


def _next_group(version: Version, options: Options, level: int, context: PickerContext) -> Choice | None:
    """Return a merge of a level's first tables that can go down together, of a few tables' size."""
    tables = version.levels[level]
    for first in range(len(tables)):
        group: list[Table] = []
        size = 0
        for table in tables[first:]:
            if table.number in context.damaged or (group and size >= MERGED_FACTOR * options.table_bytes):
                break
            group.append(table)
            size += table.meta.file_bytes
        while group:
            lower = version.overlapping(level + 1, group[0].min_key, group[-1].max_key)
            choice = readable(Merging(level, tuple(group), tuple(lower), level + 1), context)
            if choice is not None:
                return choice
            group.pop()
    return None


def resume(version: Version, context: PickerContext) -> Merging | None:
    """Return the merge under way, or None if it does not fit the tables or an input is damaged."""
    level, numbers, done = context.merge
    if not numbers or level >= LEVELS - 1:
        return None
    upper = tuple(table for table in version.levels[level] if table.number in numbers)
    if len(upper) != len(numbers) or max(table.max_key for table in upper) <= done:
        return None
    target = version.levels[level + 1]
    if any(table.min_key <= done < table.max_key for table in target):
        return None
    high = max(table.max_key for table in upper)
    low = min(table.min_key for table in upper)
    lower = tuple(table for table in target if table.min_key > done and table.min_key <= high and low <= table.max_key)
    merging = Merging(level, upper, lower, level + 1, done)
    return merging if readable(merging, context) is not None else None


def readable(choice: Choice | None, context: PickerContext) -> Choice | None:
    """Return the choice, or None if it would read a damaged table."""
    if isinstance(choice, Merging) and any(table.number in context.damaged for table in choice.inputs):
        return None
    return choice


def _fullest_levels(version: Version, options: Options) -> list[int]:
    """Return the levels that are too full, the fullest first.

    Level 0 comes before all others once it has so many tables that writers are slowed down.
    """
    tables = len(version.levels[0])
    scores = [(math.inf if tables >= options.slowdown_at else tables / options.level0_tables, 0)]
    scores += [
        (version.level_bytes(level) / level_bytes_max(level, options), -level)
        for level in range(1, LEVELS - 1)
        if version.levels[level]
    ]
    return [-level for score, level in sorted(scores, reverse=True) if score > 1 or (score == 1 and not level)]


def _push_level(version: Version, options: Options, level: int, context: PickerContext) -> Choice | None:
    """Return a compaction of some of a level's tables into the next; None if damage prevents all."""
    if level == 0:
        merging = readable(merge_level0(version, options, context), context)
        return merging or _gather_level0(version, options, context)
    tables = version.levels[level]
    cursor = context.cursors.get(level, b"")
    first = next((i for i, table in enumerate(tables) if table.min_key > cursor), 0)
    # Round robin, so that every part of a level gets its turn.
    for table in (*tables[first:], *tables[:first]):
        choice = push_down(version, level, table)
        if table.number not in context.damaged and readable(choice, context) is not None:
            return choice
    return None


def level_bytes_max(level: int, options: Options) -> int:
    """Return how many bytes a level may hold before it is compacted."""
    return max(1, options.level1_bytes * int(LEVEL_FACTOR ** (level - 1)))


def droppable(version: Version, table: Table, survivors: Survivors) -> bool:
    """Return True if nothing in the table is alive, and nothing older appears if it is dropped."""
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


def merge_level0(version: Version, options: Options, context: PickerContext) -> Merging | None:
    """Return a merge of the oldest tables of level 0 with those that they overlap in level 1.

    It takes at most MERGED_FACTOR times `level0_tables`, and only tables that are older than any
    damaged one, because newer tables must stay above that.
    """
    upper: list[Table] = []
    for table in reversed(version.levels[0]):
        if table.number in context.damaged or len(upper) >= MERGED_FACTOR * options.level0_tables:
            break
        upper.insert(0, table)
    if not upper:
        return None
    low = min(table.min_key for table in upper)
    high = max(table.max_key for table in upper)
    return Merging(0, tuple(upper), tuple(version.overlapping(1, low, high)), 1)


def _gather_level0(version: Version, options: Options, context: PickerContext) -> Merging | None:
    """Return a merge of the newest tables of level 0 within level 0; None if they are few.

    This is for tables that damage keeps from going down. It takes only tables of similar size, so
    that a record is not merged again each time.
    """
    taken: list[Table] = []
    taken_bytes = 0
    for table in version.levels[0]:
        if table.number in context.damaged or (len(taken) > 1 and table.meta.file_bytes > 2 * taken_bytes):
            break
        taken.append(table)
        taken_bytes += table.meta.file_bytes
    return Merging(0, tuple(taken), (), 0) if len(taken) >= options.level0_tables else None


def push_down(version: Version, level: int, table: Table) -> Choice:
    """Return the compaction of one table into the next level: a move if possible, else a merge."""
    lower = _below(version, level, table)
    if not lower and not table.meta.tombstones:
        return Move(table, level + 1)
    return Merging(level, (table,), lower, level + 1)


def rewriting(table: Table) -> Merging:
    """Return a merge that rewrites one table within its level."""
    return Merging(table.meta.level - 1, (), (table,), table.meta.level)


def _below(version: Version, level: int, table: Table) -> tuple[Table, ...]:
    return tuple(version.overlapping(level + 1, table.min_key, table.max_key))
