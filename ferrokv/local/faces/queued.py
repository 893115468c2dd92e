"""The commands of a pipeline: those for threads, with another way to run them.

What they answer is the pipeline or, once it watches keys, the command's answer. So type checkers
read other signatures (`queued.pyi`).
"""

from __future__ import annotations

from .blocking.hashes import BlockingHashReads, BlockingHashWrites
from .blocking.keys import BlockingKeyReads, BlockingKeyWrites
from .blocking.lists import BlockingListReads, BlockingListWrites
from .blocking.sets import BlockingSetReads, BlockingSetWrites
from .blocking.sorted_sets import BlockingSortedSetReads, BlockingSortedSetWrites
from .blocking.strings import BlockingStringReads, BlockingStringWrites


class QueuedCommands(
    BlockingKeyReads,
    BlockingKeyWrites,
    BlockingStringReads,
    BlockingStringWrites,
    BlockingListReads,
    BlockingListWrites,
    BlockingHashReads,
    BlockingHashWrites,
    BlockingSetReads,
    BlockingSetWrites,
    BlockingSortedSetReads,
    BlockingSortedSetWrites,
):
    """Every command. The pipeline says how they run: `_query`, `_write` and `_wait_for`."""

    __slots__ = ()
