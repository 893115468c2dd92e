"""Finding tables with much that belonged to dead collections.

Generations only grow, so nothing new ever overlaps a table of old elements, and no compaction for the sake of the levels would come
back to it. So after each flush some tables are looked at, in turn: by the last keys of their blocks. A table
that is mostly dead is rewritten in place, or unlinked without being read if it is all of one dead generation.
"""

from __future__ import annotations

import random
from typing import Final

from ..engine.engine import Engine
from ..format.keys import GENERATION_END, KIND_ELEMENT, KIND_OWNER, are_user_keys, generation_of
from ..storage.requests import PAUSE, Op
from ..tree.table import Table
from .dead_generations import Generations
from .picker import Choice, Drop, rewriting

SAMPLES_MAX: Final = 64
DEAD_ENOUGH: Final = 0.3


def holds_parts(table: Table) -> bool:
    """True if a table may hold elements or owners."""
    # Within a keyspace `e` comes before `k`, and `k` before `o`.
    if table.min_key[:4] != table.max_key[:4]:
        return True
    return table.min_key[4:5] <= KIND_ELEMENT or table.max_key[4:5] >= KIND_OWNER


def sweepable(engine: Engine) -> list[Table]:
    """The tables to be looked at, in a fixed order. Not those of level 0, which go down soon, nor damaged ones."""
    levels = engine.view.version.levels[1:]
    tables = (table for level in levels for table in level if table.number not in engine.compactor.damaged)
    return sorted(filter(holds_parts, tables), key=_place)


def _place(table: Table) -> tuple[bytes, int]:
    return table.min_key, table.meta.level


def sweep_due(engine: Engine) -> bool:
    """True if there are tables to be looked at."""
    if engine.compactor.sweep_looks_left and not sweepable(engine):
        engine.compactor.sweep_looks_left = 0
    return engine.compactor.sweep_looks_left > 0


def look_for_dead(engine: Engine) -> Op[Choice | None]:
    """What to do about the next table that is mostly dead, if one is found while looks are left."""
    while sweep_due(engine):
        engine.compactor.sweep_looks_left -= 1
        tables = sweepable(engine)
        table = next((table for table in tables if _place(table) > engine.compactor.sweep_cursor), tables[0])
        engine.compactor.sweep_cursor = _place(table)
        choice = yield from _judge(engine, table)
        if choice is not None:
            return choice
        yield PAUSE
    return None


def _judge(engine: Engine, table: Table) -> Op[Choice | None]:
    index = yield from table.load_index()
    keys = [table.min_key, *index.last_keys()]
    if len(keys) > SAMPLES_MAX:
        keys = [keys[0], *random.sample(keys[1:-1], SAMPLES_MAX - 2), keys[-1]]
    generations = [generation_of(key) for key in keys]
    dead = yield from Generations(engine).dead_of(generations)
    # Elements come before all user keys and owners behind them, so only a table of elements alone holds nothing else in between.
    if table.min_key[:GENERATION_END] == table.max_key[:GENERATION_END] and generation_of(table.min_key) in dead:
        return Drop((table,))
    if sum(generation in dead for generation in generations) >= DEAD_ENOUGH * len(generations):
        return rewriting(table)
    return None


def next_with_dead(engine: Engine, after: tuple[bytes, int]) -> Op[tuple[Table, tuple[bytes, int]] | None]:
    """The first table behind a place that holds anything dead, and its place. Reads each table until something is found."""
    for table in sweepable(engine):
        if _place(table) > after and (yield from _holds_dead(engine, table)):
            return table, _place(table)
    return None


def _holds_dead(engine: Engine, table: Table) -> Op[bool]:
    """Reads the blocks that may hold elements or owners, and no others."""
    generations = Generations(engine)
    index = yield from table.load_index(keep=False)
    before = table.min_key
    for number, last_key in enumerate(index.last_keys()):
        if not are_user_keys(before, last_key):
            keys, entries = table.decode((yield from table.fetch_block(index, number)))
            if len((yield from generations.without_dead((keys, entries)))[0]) != len(keys):
                return True
            yield PAUSE
        before = last_key
    return False
