"""Ordered scans over a pinned view, page by page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import repeat
from operator import getitem, itemgetter
from typing import Any, Final

from ..clock import Now
from ..format.commits import Entry
from ..storage.requests import Op
from .merge import Merge, Page
from .overlay import Changes, ChangesSource
from .view import View

Pairs = list[tuple[bytes, bytes]]
_VALUE: Final[Callable[[Entry], Any]] = itemgetter(0)
_slice: Final[Callable[[bytes, slice], bytes]] = getitem  # type: ignore[assignment]
_EXPIRY: Final[Callable[[Entry], int]] = itemgetter(1)


class Scan:
    """The live records of [low, high) in key order, or in reverse.

    The view must be pinned until the scan ends. `overlays` are changes on top of the view, from old
    to new. `count` is called with the number of records in each page, including dead ones, and may
    raise to end the scan. A caller that needs only a limited number of records passes it as
    `wanted`, so that the first page is not larger than necessary.
    """

    def __init__(
        self,
        view: View,
        low: bytes,
        high: bytes | None,
        clock: Now,
        *,
        reverse: bool = False,
        overlays: Sequence[Changes] = (),
        count: Callable[[int], None] | None = None,
        wanted: int | None = None,
    ) -> None:
        self._clock = clock
        self._reverse = reverse
        self._count = count
        sources = view.sources(low, high, reverse=reverse, wanted=wanted)
        sources.extend(ChangesSource(changes, low, high, reverse=reverse) for changes in overlays if changes)
        self._merge = Merge(sources, reverse=reverse)

    def next_page(self, prefix_bytes: int, *, strings: bool = False) -> Op[Pairs | None]:
        """Return the next (key, value) pairs in scan order, which may be none; None at the end.

        The first `prefix_bytes` of each key are cut off. With `strings`, collections are left out.
        """
        page = yield from self._merge.next_page()
        if page is None:
            return None
        if self._count is not None:
            self._count(len(page[0]))
        pairs = _live_pairs(page, slice(prefix_bytes, None), self._clock(), strings=strings)
        if self._reverse:
            pairs.reverse()
        return pairs


def _live_pairs(page: Page, rest: slice, now_ms: int, *, strings: bool) -> Pairs:
    """Return the live pairs of a page. `rest` is the slice of each key to return."""
    keys, entries = page
    values = list(map(_VALUE, entries))
    # The common case, by C calls alone: the page has no tombstones, no expiries and no collections.
    if not any(map(_EXPIRY, entries)) and set(map(type, values)) == {bytes}:
        return list(zip(map(_slice, keys, repeat(rest)), values, strict=True))
    records = zip(keys, entries, strict=True)
    if strings:  # excludes roots, and tombstones too: their value is None
        return [(k[rest], v) for k, (v, at, _, _) in records if v.__class__ is bytes and (not at or at > now_ms)]
    return [(k[rest], v) for k, (v, at, _, _) in records if v is not None and (not at or at > now_ms)]
