"""The versions of each kind of file that this library writes and reads.

See docs/format.md section 9. When the format of a kind changes, the kind gets a new version, and
`read` keeps the old ones for as long as possible. Tables have a registry of their own,
`table_formats.py`, since a store may hold tables of several versions at the same time.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from ...errors import UnsupportedFormat


class FileVersions(NamedTuple):
    """The versions of one kind of file."""

    kind: str
    written: int
    read: frozenset[int]

    def check(self, found: int) -> None:
        """Raise `UnsupportedFormat` if this library cannot read files of version `found`."""
        if found not in self.read:
            raise UnsupportedFormat(
                f"{self.kind} of another format version: found={found} this_version={self.written} "
                f"reads={','.join(map(str, sorted(self.read)))}"
            )


# The version of CURRENT, and so of the store: a process checks it before it opens any other file.
STORE: Final = FileVersions("store", 1, frozenset({1}))
WAL: Final = FileVersions("WAL", 1, frozenset({1}))
MANIFEST: Final = FileVersions("manifest", 1, frozenset({1}))
