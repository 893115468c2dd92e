"""The state of the holder of the compact lock: the manifest, and what compaction remembers.

Every process has a `Compactor`, and only the process that holds the compact lock may use its own. A
new holder learns nothing from the memory of the last one, only from the manifest and the control
page.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from ...errors import CorruptionError
from .accesses import QuotaState
from .manifest import Manifest

LOOKS_EACH_FLUSH: Final = (
    8  # tables to examine for dead elements after each flush and after opening (compaction/sweeping.py)
)


class Waiting(NamedTuple):
    """A table file that waits for its removal.

    The edit that made VERSION `version_word` replaced it.
    """

    version_word: int
    name: str
    bytes: int


class Compactor:
    """The state of flushes and compactions in one process.

    Owner: the background thread, while the process holds the compact lock.
    """

    def __init__(self) -> None:
        self.open_manifest: Manifest | None = None
        self.orphans: list[str] = []  # files of an edit in doubt, to remove after the next manifest roll
        self.waiting: list[Waiting] = []  # tables to remove when nobody reads them any more
        self.cursors: dict[int, bytes] = {}  # level -> smallest key of the table that was compacted last
        # Numbers of the tables that could not be read, each with the error. Compaction works around
        # them.
        self.damaged: dict[int, CorruptionError] = {}
        self.nothing_fits = (0, 0)  # VERSION and bytes of room for which no merge that fits was found
        self.nothing_freed = (0, 0)  # VERSION and next keyspace id for which no merge would free anything
        self.tables_weighed = 0  # tables that were weighed for hidden records, on a full disk
        self.sweep_cursor = (b"", 0)  # the place of the table that was examined last (compaction/sweeping.py)
        self.sweep_looks_left = LOOKS_EACH_FLUSH  # tables left to examine before the next flush
        self.quota_state = QuotaState()  # for quotas
        # Internal keys of long expired roots that compaction has found
        # (compaction/dead_generations.py).
        self.expired_roots: set[bytes] = set()

    @property
    def manifest(self) -> Manifest:
        """The open manifest."""
        assert self.open_manifest is not None
        return self.open_manifest
