"""The range of a scan: from the caller's arguments to internal keys."""

from __future__ import annotations

from typing import NamedTuple

from ...contract.encoding import Key, encode_bound
from ...errors import DataError
from ..clock import Now
from ..format.keys import successor_of_prefix
from ..storage.requests import Op
from ..tree.records import Records
from ..tree.scan import Scan
from ..tree.view import View


class Range(NamedTuple):
    """User keys of [low, high), the direction, and how many at most.

    `high` None means to the end.
    """

    low: bytes
    high: bytes | None
    reverse: bool
    limit: int | None


def make_range(start: Key | None, end: Key | None, prefix: Key | None, reverse: bool, limit: int | None) -> Range:
    """Check the arguments, and return the part of [start, end) that has the prefix."""
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 0):
        raise DataError(f"a limit must be a non-negative int: found={limit!r}")
    low, high, shared = encode_bound(start) or b"", encode_bound(end), encode_bound(prefix)
    if shared:
        low = max(low, shared)
        above = successor_of_prefix(shared)
        if above is not None:
            high = above if high is None else min(high, above)
    return Range(low, high, reverse, limit)


def open_scan(view: View, keyspace_prefix: bytes, asked: Range, clock: Now) -> Scan:
    """Return a scan of the range, in one keyspace of a pinned view."""
    low = keyspace_prefix + asked.low
    high = successor_of_prefix(keyspace_prefix) if asked.high is None else keyspace_prefix + asked.high
    return Scan(
        view, low, max(low, high) if high is not None else None, clock, reverse=asked.reverse, wanted=asked.limit
    )


def read_pairs(records: Records, asked: Range) -> Op[list[tuple[bytes, bytes]]]:
    """Return the string keys of a range, with their values."""
    prefix = records.prefix
    found: list[tuple[bytes, bytes]] = []
    if prefix is None:
        return found
    low = prefix + asked.low
    high = successor_of_prefix(prefix) if asked.high is None else prefix + asked.high
    scan = records.scan(low, max(low, high) if high is not None else None, reverse=asked.reverse)
    while (asked.limit is None or len(found) < asked.limit) and (
        page := (yield from scan.next_page(len(prefix), strings=True))
    ) is not None:
        found += page
    return found if asked.limit is None else found[: asked.limit]
