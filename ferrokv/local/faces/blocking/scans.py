# Made by `python -m tools.make_twins` from local/faces/aio/scans.py; edit that.
"""Iterators over a keyspace, and over the contents of collections."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ....contract.encoding import Key, encode_bound, encode_key
from ...commands import collections, scans
from ...commands.floats import score_of
from ...commands.keys import compile_pattern
from ...commands.zranges import BY_MEMBER
from ...format.roots import HASH, SET, SORTED_SET
from ...storage.requests import Op
from ..reader import KeyPages, Reader, ScanPages, T
from .command_base import CommandBase


class BlockingScans(Reader, CommandBase):
    """Iterators.

    A scan of the keyspace sees it as of one moment. A scan of a collection, as in Redis, returns
    every element that is there throughout.
    """

    __slots__ = ()

    def scan(
        self,
        start: Key | None = None,
        end: Key | None = None,
        *,
        prefix: Key | None = None,
        reverse: bool = False,
        limit: int | None = None,
    ) -> Iterator[tuple[bytes, bytes]]:
        """Iterate over (key, value) of string keys, in key order, or backwards with `reverse`.

        Yields the keys of [start, end) that have the prefix, at most `limit` of them, all as of the
        first step.
        """
        pages = ScanPages(self, scans.make_range(start, end, prefix, reverse, limit))
        try:
            while (pairs := self._read(pages.next_page())) is not None:
                yield from pairs
        finally:
            pages.close()

    def scan_iter(
        self, match: Key | None = None, count: int | None = None, _type: str | None = None
    ) -> Iterator[bytes]:
        """Iterate over keys that match glob and type, in key order, as of the first step.

        Only keys with the glob's literal prefix are read. `count` is ignored.
        """
        pages = KeyPages(self, match, _type)
        try:
            while (names := self._read(pages.next_keys())) is not None:
                yield from names
        finally:
            pages.close()

    def hscan_iter(
        self, name: Key, match: Key | None = None, count: int | None = None, no_values: bool | None = None
    ) -> Iterator[Any]:
        """Iterate over (field, value) of the fields that match the glob, in order.

        With `no_values`, yields the fields alone.
        """
        for element, value in self._elements(name, HASH, b"", match):
            yield element if no_values else (element, value)

    def sscan_iter(self, name: Key, match: Key | None = None, count: int | None = None) -> Iterator[bytes]:
        """Iterate over the members that match the glob, in order."""
        for element, _ in self._elements(name, SET, b"", match):
            yield element

    def zscan_iter(
        self, name: Key, match: Key | None = None, count: int | None = None, score_cast_func: Any = float
    ) -> Iterator[tuple[bytes, Any]]:
        """Iterate over (member, score) of members that match the glob, in order of the members."""
        for element, value in self._elements(name, SORTED_SET, BY_MEMBER, match):
            yield element, score_cast_func(score_of(value))

    def _elements(
        self, name: Key, collection_type: bytes, index: bytes, match: Key | None
    ) -> Iterator[tuple[bytes, bytes]]:
        key, pattern = encode_key(name), compile_pattern(b"*" if match is None else encode_bound(match) or b"")
        after: bytes | None = None
        while page := self._query(collections.page_of, key, collection_type, index, after):
            for element, value in page:
                if pattern.fullmatch(element):
                    yield element, value
            after = page[-1][0]

    def _read(self, op: Op[T]) -> T:
        """Run an operation and return its result."""
        raise NotImplementedError
