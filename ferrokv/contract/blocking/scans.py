# Made by `python -m tools.make_twins` from contract/aio/scans.py; edit that.
"""Iterators over a keyspace, and over the contents of collections."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from ..encoding import Key


class BlockingScans(Protocol):
    """Iterators."""

    def scan(
        self,
        start: Key | None = None,
        end: Key | None = None,
        *,
        prefix: Key | None = None,
        reverse: bool = False,
        limit: int | None = None,
    ) -> Iterator[tuple[bytes, bytes]]:
        """Iterate over (key, value) of string keys, in key order, or backwards with `reverse`."""

    def scan_iter(
        self, match: Key | None = None, count: int | None = None, _type: str | None = None
    ) -> Iterator[bytes]:
        """Iterate over keys that match glob and type, in key order, as of the first step."""

    def hscan_iter(
        self, name: Key, match: Key | None = None, count: int | None = None, no_values: bool | None = None
    ) -> Iterator[Any]:
        """Iterate over (field, value) of the fields that match the glob, in order."""

    def sscan_iter(self, name: Key, match: Key | None = None, count: int | None = None) -> Iterator[bytes]:
        """Iterate over the members that match the glob, in order."""

    def zscan_iter(
        self, name: Key, match: Key | None = None, count: int | None = None, score_cast_func: Any = float
    ) -> Iterator[tuple[bytes, Any]]:
        """Iterate over (member, score) of members that match the glob, in order of the members."""
