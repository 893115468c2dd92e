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
    """Live records of [low, high) in key order, or in reverse. The view must stay pinned while it is read.

    `overlays` are changes that lie over the view, from old to new. `count` is told how many records each page holds, dead ones
    included, and may raise. Whoever has a limit says as `wanted` how many records that is: the first page is no larger than it
    need be.
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
        """The next pairs in scan order, keys without their first `prefix_bytes`; perhaps empty; None at the end.

        With `strings` collections are left out.
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
    """The `rest` of each key with what it holds."""
    keys, entries = page
    values = list(map(_VALUE, entries))
    # The most frequent page: neither deletions nor expiries nor collections, by C calls alone.
    if not any(map(_EXPIRY, entries)) and set(map(type, values)) == {bytes}:
        return list(zip(map(_slice, keys, repeat(rest)), values, strict=True))
    records = zip(keys, entries, strict=True)
    if strings:  # nor have tombstones this class
        return [(k[rest], v) for k, (v, at, _, _) in records if v.__class__ is bytes and (not at or at > now_ms)]
    return [(k[rest], v) for k, (v, at, _, _) in records if v is not None and (not at or at > now_ms)]
