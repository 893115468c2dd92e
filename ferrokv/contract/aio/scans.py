# Made by `python -m tools.make_contract` from local/faces/aio/scans.py; edit that.
"""Iterators over a keyspace, and over the contents of collections."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, Protocol

from ..encoding import Key


class AsyncScans(Protocol):
    """Iterators."""

    def scan(
        self,
        start: Key | None = None,
        end: Key | None = None,
        *,
        prefix: Key | None = None,
        reverse: bool = False,
        limit: int | None = None,
    ) -> AsyncGenerator[tuple[bytes, bytes], None]:
        """Iterate over (key, value) of string keys, in key order, or backwards with `reverse`."""

    def scan_iter(
        self, match: Key | None = None, count: int | None = None, _type: str | None = None
    ) -> AsyncGenerator[bytes, None]:
        """Iterate over keys that match glob and type, in key order, as of the first step."""

    def hscan_iter(
        self, name: Key, match: Key | None = None, count: int | None = None, no_values: bool | None = None
    ) -> AsyncGenerator[Any, None]:
        """Iterate over (field, value) of the fields that match the glob, in order."""

    def sscan_iter(self, name: Key, match: Key | None = None, count: int | None = None) -> AsyncGenerator[bytes, None]:
        """Iterate over the members that match the glob, in order."""

    def zscan_iter(
        self, name: Key, match: Key | None = None, count: int | None = None, score_cast_func: Any = float
    ) -> AsyncGenerator[tuple[bytes, Any], None]:
        """Iterate over (member, score) of members that match the glob, in order of the members."""
