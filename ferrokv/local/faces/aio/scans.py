"""Iterators over a keyspace, and over the contents of collections."""

from __future__ import annotations

from collections.abc import AsyncGenerator
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


class AsyncScans(Reader, CommandBase):
    """Iterators.

    A scan of the keyspace sees it as of one moment. A scan of a collection, as in Redis, returns
    every element that is there throughout.
    """

    __slots__ = ()

    async def scan(
        self,
        start: Key | None = None,
        end: Key | None = None,
        *,
        prefix: Key | None = None,
        reverse: bool = False,
        limit: int | None = None,
    ) -> AsyncGenerator[tuple[bytes, bytes], None]:
        """Iterate over (key, value) of string keys, in key order, or backwards with `reverse`.

        Yields the keys of [start, end) that have the prefix, at most `limit` of them, all as of the
        first step.
        """
        pages = ScanPages(self, scans.make_range(start, end, prefix, reverse, limit))
        try:
            while (pairs := await self._read(pages.next_page())) is not None:
                for pair in pairs:
                    yield pair
        finally:
            pages.close()

    async def scan_iter(
        self, match: Key | None = None, count: int | None = None, _type: str | None = None
    ) -> AsyncGenerator[bytes, None]:
        """Iterate over keys that match glob and type, in key order, as of the first step.

        Only keys with the glob's literal prefix are read. `count` is ignored.
        """
        pages = KeyPages(self, match, _type)
        try:
            while (names := await self._read(pages.next_keys())) is not None:
                for name in names:
                    yield name
        finally:
            pages.close()

    async def hscan_iter(
        self, name: Key, match: Key | None = None, count: int | None = None, no_values: bool | None = None
    ) -> AsyncGenerator[Any, None]:
        """Iterate over (field, value) of the fields that match the glob, in order.

        With `no_values`, yields the fields alone.
        """
        async for element, value in self._elements(name, HASH, b"", match):
            yield element if no_values else (element, value)

    async def sscan_iter(
        self, name: Key, match: Key | None = None, count: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        """Iterate over the members that match the glob, in order."""
        async for element, _ in self._elements(name, SET, b"", match):
            yield element

    async def zscan_iter(
        self, name: Key, match: Key | None = None, count: int | None = None, score_cast_func: Any = float
    ) -> AsyncGenerator[tuple[bytes, Any], None]:
        """Iterate over (member, score) of members that match the glob, in order of the members."""
        async for element, value in self._elements(name, SORTED_SET, BY_MEMBER, match):
            yield element, score_cast_func(score_of(value))

    async def _elements(
        self, name: Key, collection_type: bytes, index: bytes, match: Key | None
    ) -> AsyncGenerator[tuple[bytes, bytes], None]:
        key, pattern = encode_key(name), compile_pattern(b"*" if match is None else encode_bound(match) or b"")
        after: bytes | None = None
        while page := await self._query(collections.page_of, key, collection_type, index, after):
            for element, value in page:
                if pattern.fullmatch(element):
                    yield element, value
            after = page[-1][0]

    async def _read(self, op: Op[T]) -> T:
        """Run an operation and return its result."""
        raise NotImplementedError
