"""How far compaction is behind, announced to the writers of all processes.

The words are LEVEL0, SCORE and DAMAGED.
"""

from __future__ import annotations

from typing import Final

from ...options import Options
from ..format.control import DAMAGED, LEVEL0, SCORE, SCORE_UNIT
from ..storage.requests import Words
from ..tree.version import LEVELS, Version
from .picker import level_bytes_max

SMALL_LEVEL_BYTES: Final = 16 << 20  # smaller levels count as this large, since they are compacted quickly


def score(version: Version, options: Options) -> float:
    """Return how full the fullest level is, including what is on its way down to it. 1.0 is full.

    All of level 0 is on its way down, and from each deeper level what it holds beyond its limit. So
    a compaction changes the score only when data reaches the level that has room for it. 0 for an
    empty store. Costs a sum over all tables.
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
    """Store the words for the writers of all processes.

    For the holder of the compact lock, or a process alone. While there are `damaged` tables, a
    level may stay too full for ever. No writer should wait for that, so the score is announced as
    0.
    """
    words[DAMAGED] = damaged
    words[LEVEL0] = len(version.levels[0])
    words[SCORE] = 0 if damaged else int(SCORE_UNIT * score(version, options))
