"""How far compaction is behind, as every process reads it from the control page: tables in level 0, and the score of the levels."""

from __future__ import annotations

from typing import Final

from ...options import Options
from ..format.control import DAMAGED, LEVEL0, SCORE, SCORE_UNIT
from ..storage.requests import Words
from ..tree.version import LEVELS, Version
from .picker import level_bytes_max

SMALL_LEVEL_BYTES: Final = 16 << 20  # a level that may hold less counts as one of this size: it is compacted in no time


def score(version: Version, options: Options) -> float:
    """How many times too full the fullest level is, once what lies too high has come down to it. 0 for an empty store.

    The level above a level keeps what it may hold, and all else of it is on its way down; of level 0, everything is. So a
    compaction changes little of the score before it reaches the level where there is room. Costs a sum over all tables.
    """
    highest = 0.0
    arriving = version.level_bytes(0)
    for level in range(1, LEVELS - 1):
        held = version.level_bytes(level) + arriving
        most = level_bytes_max(level, options)
        highest = max(highest, held / max(most, SMALL_LEVEL_BYTES))
        arriving = max(0, held - most)
    return highest


def announce_score(words: Words, version: Version, options: Options, damaged: int = 0) -> None:
    """Tell the writers of all processes. Only for the holder of the compact lock, or who is alone.

    While tables are `damaged`, a level may stay too full for ever. Nobody shall wait for that, so it is not announced.
    """
    words[DAMAGED] = damaged
    words[LEVEL0] = len(version.levels[0])
    words[SCORE] = 0 if damaged else int(SCORE_UNIT * score(version, options))
