"""Finding tables with many records of dead collections.

New generations are always higher than older ones, so new elements never overlap a table of old
elements, and compaction of the levels might never come back to it. So after each flush, a few
tables are examined, in turn, by a sample of the last keys of their blocks. A table with enough dead
records (DEAD_ENOUGH) is rewritten in its level. One that holds only elements of a single dead
generation is dropped unread.
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
    """Return True if a table may hold elements or owners."""
    # Within a keyspace, kind `e` sorts before `k`, and `k` before `o`.
    if table.min_key[:4] != table.max_key[:4]:
        return True
    return table.min_key[4:5] <= KIND_ELEMENT or table.max_key[4:5] >= KIND_OWNER


def sweepable(engine: Engine) -> list[Table]:
    """Return the tables to examine, in a fixed order.

    Those of level 0 are left out, since they go down soon, and so are damaged ones.
    """
    levels = engine.view.version.levels[1:]
    tables = (table for level in levels for table in level if table.number not in engine.compactor.damaged)
    return sorted(filter(holds_parts, tables), key=_place)


def _place(table: Table) -> tuple[bytes, int]:
    return table.min_key, table.meta.level


def sweep_due(engine: Engine) -> bool:
    """Return True if there are tables to examine before the next flush."""
    if engine.compactor.sweep_looks_left and not sweepable(engine):
        engine.compactor.sweep_looks_left = 0
    return engine.compactor.sweep_looks_left > 0


def look_for_dead(engine: Engine) -> Op[Choice | None]:
    """Examine tables until one has enough dead records. Return what to do with it, or None."""
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
    # In a keyspace, elements sort before user keys, and these before owners. So if the first and
    # the last key are elements of one generation, all keys between them are.
    if table.min_key[:GENERATION_END] == table.max_key[:GENERATION_END] and generation_of(table.min_key) in dead:
        return Drop((table,))
    if sum(generation in dead for generation in generations) >= DEAD_ENOUGH * len(generations):
        return rewriting(table)
    return None


def next_with_dead(engine: Engine, after: tuple[bytes, int]) -> Op[tuple[Table, tuple[bytes, int]] | None]:
    """Return the first table after a place that holds records of dead generations, with its place.

    Reads tables until it finds one.
    """
    for table in sweepable(engine):
        if _place(table) > after and (yield from _holds_dead(engine, table)):
            return table, _place(table)
    return None


def _holds_dead(engine: Engine, table: Table) -> Op[bool]:
    """Return True if a table holds records of a dead generation.

    Reads only the blocks that may hold elements or owners.
    """
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
