"""What only the holder of the compact lock may change: the manifest, and what compaction remembers from one step to the next.

Every process has a `Compactor`, and one process at a time may use it. A new holder starts from what is on disk: of what the last
one remembered, only the manifest and the words of the control page come over.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from ...errors import CorruptionError
from .accesses import Keeping
from .manifest import Manifest

LOOKS_EACH_FLUSH: Final = (
    8  # at tables that may be full of dead elements (compaction/sweeping.py), and as many after opening
)


class Waiting(NamedTuple):
    """A table file that the store does not need any more, since the edit that made VERSION `version_word`."""

    version_word: int
    name: str
    bytes: int


class Compactor:
    """The state of flushes and compactions in one process. Owner: the holder of the compact lock; in it, the background thread."""

    def __init__(self) -> None:
        self.open_manifest: Manifest | None = None
        self.orphans: list[str] = []  # files to remove after the next manifest roll
        self.waiting: list[Waiting] = []  # tables to remove when nobody reads them
        self.cursors: dict[int, bytes] = {}  # level -> where its last compaction ended
        # Numbers of tables that could not be read, each with the reason. Compaction goes on without them.
        self.damaged: dict[int, CorruptionError] = {}
        self.nothing_fits = (0, 0)  # VERSION and room for which no merge was found
        self.nothing_freed = (0, 0)  # VERSION and next keyspace for which no merge gives anything back
        self.tables_weighed = 0  # for what is hidden in them, on a full disk
        self.sweep_cursor = (b"", 0)  # the place of the table that was last looked at (compaction/sweeping.py)
        self.sweep_looks_left = LOOKS_EACH_FLUSH  # at tables, before the next flush
        self.keeping = Keeping()  # what is known of quotas
        # Internal keys of long expired roots that compaction came across (compaction/dead_generations.py).
        self.expired_roots: set[bytes] = set()

    @property
    def manifest(self) -> Manifest:
        """The open manifest."""
        assert self.open_manifest is not None
        return self.open_manifest
