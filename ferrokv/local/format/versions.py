"""The version of each kind of file: which one this library writes, and which ones it reads (docs/format.md section 9).

A kind whose bytes change gets a new number, and the readers keep the old ones in `read` for as long as they can. Tables have a
registry of their own, `table_formats.py`, since a store holds tables of several versions at a time.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from ...errors import UnsupportedFormat


class FileVersions(NamedTuple):
    """Of one kind of file."""

    kind: str
    written: int
    read: frozenset[int]

    def check(self, found: int) -> None:
        """`UnsupportedFormat` if this library cannot read the version that a file says it has."""
        if found not in self.read:
            raise UnsupportedFormat(
                f"{self.kind} of another format version: found={found} this_version={self.written} "
                f"reads={','.join(map(str, sorted(self.read)))}"
            )


# Of CURRENT, and of the store as a whole: what a process has to understand before it opens any other file.
STORE: Final = FileVersions("store", 1, frozenset({1}))
WAL: Final = FileVersions("WAL", 1, frozenset({1}))
MANIFEST: Final = FileVersions("manifest", 1, frozenset({1}))
