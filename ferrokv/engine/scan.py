"""Ordered scans over a pinned view, page by page."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..storage.requests import Op
from .clock import Now
from .merge import MemtableSource, Merge, RunSource, Source
from .overlay import Changes, ChangesSource
from .view import View

Pairs = list[tuple[bytes, bytes]]


class Scan:
    """Live records of [low, high) in key order, or in reverse. The view must stay pinned while it is read.

    `overlays` are changes that lie over the view, from old to new. `count` is told how many records each page holds, dead ones
    included, and may raise.
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
    ) -> None:
        self._clock = clock
        self._reverse = reverse
        self._count = count
        sources: list[Source] = []
        for level in reversed(view.version.levels[1:]):
            inside = [t for t in level if low <= t.max_key and (high is None or t.min_key < high)]
            if inside:
                sources.append(RunSource(inside, low, high, reverse=reverse))
        for table in reversed(view.version.levels[0]):
            if low <= table.max_key and (high is None or table.min_key < high):
                sources.append(RunSource([table], low, high, reverse=reverse))
        sources.extend(MemtableSource(m, low, high, reverse=reverse) for m in reversed(view.sealed))
        sources.append(MemtableSource(view.active, low, high, reverse=reverse, as_of=view.as_of))
        sources.extend(ChangesSource(changes, low, high, reverse=reverse) for changes in overlays if changes)
        self._merge = Merge(sources, reverse=reverse)

    def next_page(self, prefix_bytes: int) -> Op[Pairs | None]:
        """The next pairs in scan order, keys without their first `prefix_bytes`; perhaps empty; None at the end."""
        page = yield from self._merge.next_page()
        if page is None:
            return None
        if self._count is not None:
            self._count(len(page[0]))
        now_ms = self._clock()
        pairs = [
            (key[prefix_bytes:], entry[0])
            for key, entry in zip(*page, strict=True)
            if entry[0] is not None and (not entry[1] or entry[1] > now_ms)
        ]
        if self._reverse:
            pairs.reverse()
        return pairs
