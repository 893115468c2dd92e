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
        sources: list[Source] = [
            RunSource(run, low, high, reverse=reverse, wanted=wanted) for run in view.version.runs(low, high)
        ]
        sources.extend(MemtableSource(m, low, high, reverse=reverse) for m in reversed(view.sealed))
        sources.append(MemtableSource(view.active, low, high, reverse=reverse, as_of=view.as_of))
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
        now_ms = self._clock()
        records = zip(*page, strict=True)
        if strings:  # nor have tombstones this class
            pairs = [
                (key[prefix_bytes:], value)
                for key, (value, expires_ms, _, _) in records
                if value.__class__ is bytes and (not expires_ms or expires_ms > now_ms)
            ]
        else:
            pairs = [
                (key[prefix_bytes:], value)
                for key, (value, expires_ms, _, _) in records
                if value is not None and (not expires_ms or expires_ms > now_ms)
            ]
        if self._reverse:
            pairs.reverse()
        return pairs
