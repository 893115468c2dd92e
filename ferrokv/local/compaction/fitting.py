"""Choosing what fits into the space that is left: memtables to flush, and tables to merge.

Usually the sizes of the inputs show that everything fits. If not, the output is weighed: the flush
or merge is done without writing, because deletions may leave little of the inputs. See
docs/decisions/0021-a-full-disk.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from ...errors import StoreFull
from ..engine.engine import Engine
from ..engine.spares import SPARE_TABLE
from ..format.commits import Entry
from ..storage.requests import ListDirectory, Op
from ..tree.memtable import Memtable
from ..tree.merge import Page
from ..tree.read import read_entry
from ..tree.table import Table
from ..tree.version import LEVELS, Version
from ..tree.view import HotCache, View, entry_bytes
from .picker import Merging, PickerContext, merge_level0, push_down, readable, rewriting

RECORD_BYTES = 22  # for each record, in a block and in the filter, beside key and value
BLOCK_BYTES = 64  # for each block, in its head and in the index, beside its last key
STRIPS_MAX = 64  # tables that are weighed after each change of the store
FREED_BYTES_MIN = 4096  # a merge must free at least so much, and at least a sixteenth of what it reads
TABLE_BYTES = 4096  # for each table: the footer, heads, and the file system's rounding


class SizeEstimator:
    """Takes pages as a table builder does.

    `bytes` is the size that the tables would have, or a little more.
    """

    def __init__(self, block_bytes: int, table_bytes: int) -> None:
        self._block_bytes = block_bytes
        self._table_bytes = table_bytes
        self._data = 0
        self._pending = 0
        self._index = 0
        self.records = 0

    def add(self, keys: Sequence[bytes], entries: Sequence[Entry]) -> Op[None]:
        """Weigh a page of records."""
        yield from ()
        last = b""
        for key, entry in zip(keys, entries, strict=True):
            size = len(key) + len(entry[0] or b"") + RECORD_BYTES
            self._data += size
            if self._pending and size >= self._block_bytes:
                self._close(last)
            self._pending += size
            if self._pending >= self._block_bytes:
                self._close(key)
            last = key
        if self._pending:
            self._close(last)  # perhaps too early, but this may be the last page
        self.records += len(keys)

    def _close(self, last: bytes) -> None:
        self._index += BLOCK_BYTES + len(last)
        self._pending = 0

    @property
    def bytes(self) -> int:
        """The size of all tables."""
        tables = self._data // self._table_bytes + 1
        return self._data + self._index + tables * TABLE_BYTES if self.records else 0


class Room:
    """The room for new tables in bytes: `free` on the disk; `most` includes the spare table."""

    def __init__(self, free: int, spare: int) -> None:
        self.free = free
        self.most = free + spare


def look_for_room(engine: Engine) -> Op[Room]:
    """Return the room that a flush or compaction has."""
    names: dict[str, int] = yield ListDirectory()
    return Room(engine.storage.space().free, names.get(SPARE_TABLE, 0))


def memtables_that_fit(
    engine: Engine, sealed: tuple[Memtable, ...], weigh: Callable[[tuple[Memtable, ...]], Op[int]]
) -> Op[tuple[tuple[Memtable, ...], bool]]:
    """Return as many of the oldest memtables as fit, and whether that takes the spare table.

    Raises `StoreFull` if there is no room even for the oldest one.
    """
    most = sum(memtable.wal_bytes * 9 // 8 + TABLE_BYTES for memtable in sealed)
    if most <= engine.storage.space().free:
        return sealed, False
    room = yield from look_for_room(engine)
    needed = 0
    for count in range(len(sealed), 0, -1):
        needed = yield from weigh(sealed[:count])
        if needed <= room.most:
            return sealed[:count], takes_spare(engine, needed, room)
    raise StoreFull(f"flushing a memtable found no space: needed_bytes={needed} room_bytes={room.most}")


def merge_that_fits(
    engine: Engine, choice: Merging, context: PickerContext, weigh: Callable[[Merging], Op[int]]
) -> Op[tuple[Merging, bool]]:
    """Return the merge, or another one that fits, and whether that takes the spare table.

    Raises `StoreFull` if no merge fits. Then no other one is searched for until the tables have
    changed or there is more room.
    """
    inputs = sum(table.meta.file_bytes for table in choice.inputs)
    if inputs + TABLE_BYTES <= engine.storage.space().free:
        return choice, False
    room = yield from look_for_room(engine)
    version = engine.view.version
    tables_word, tried = engine.compactor.nothing_fits
    if tables_word == engine.seen_version and room.most <= tried:
        raise _nothing_fits(room)
    for candidate in (choice, *(() if engine.is_short else smaller_merges(version, choice, context))):
        needed = yield from weigh(candidate)
        if needed <= room.most:
            return candidate, takes_spare(engine, needed, room)
    freeing = yield from merge_that_frees(engine, context, weigh)
    if freeing is not None:
        return freeing, takes_spare(engine, (yield from weigh(freeing)), room)
    engine.compactor.nothing_fits = engine.seen_version, room.most  # the word, since the version would keep its files
    raise _nothing_fits(room)


def merge_that_frees(engine: Engine, context: PickerContext, weigh: Callable[[Merging], Op[int]]) -> Op[Merging | None]:
    """Return a merge that is not due but frees space, on a full disk only; or None.

    It reads everything that it weighs. If it finds nothing, it does not search again before the
    tables have changed or a keyspace was created or cleared.
    """
    view = engine.view
    state = engine.seen_version, view.catalogue.next_id
    if not engine.is_short or engine.compactor.nothing_freed == state:
        return None
    room = yield from look_for_room(engine)
    for candidate in _freeing_merges(engine, view.version, context):
        inputs = sum(table.meta.file_bytes for table in candidate.inputs)
        needed = yield from weigh(candidate)
        if needed <= room.most and needed + max(FREED_BYTES_MIN, inputs // 16) <= inputs:
            return candidate
    engine.compactor.nothing_freed = state
    return None


def _freeing_merges(engine: Engine, version: Version, context: PickerContext) -> Iterator[Merging]:
    """Iterate over merges that may free space, the most useful first."""
    level0 = version.levels[0]
    down = readable(merge_level0(version, engine.options, context), context)
    if isinstance(down, Merging):
        yield down
    for count in range(2, len(level0) + 1):
        within = Merging(0, level0[:count], (), 0)
        if readable(within, context) is None:
            break
        yield within
    yield from single_merges(version, context)
    deeper = [table for level in version.levels[1:] for table in level if _is_deleted_from(version, table, context)]
    start = engine.compactor.tables_weighed % max(1, len(deeper))
    for table in [*deeper[start:], *deeper[:start]][:STRIPS_MAX]:
        engine.compactor.tables_weighed += 1
        yield rewriting(table)._replace(stripped=True)


def _is_deleted_from(version: Version, table: Table, context: PickerContext) -> bool:
    """Return True if newer levels have tombstones in the table's range, and all can be read."""
    newer = [
        other for level in range(table.meta.level) for other in version.overlapping(level, table.min_key, table.max_key)
    ]
    is_readable = not any(other.number in context.damaged for other in (table, *newer))
    return is_readable and any(other.meta.tombstones for other in newer)


def newer_than(view: View, level: int) -> View:
    """Return the view without the tables of `level` and below."""
    levels = tuple(tables if i < level else () for i, tables in enumerate(view.version.levels))
    return View(view.active, view.sealed, Version(levels), view.catalogue, HotCache(0, entry_bytes))


def without_hidden(newer: View, page: Page) -> Op[Page]:
    """Return the page without records of which `newer` has other versions.

    Costs a point read per record.
    """
    keys, entries = page
    kept = []
    for i, key in enumerate(keys):
        if (yield from read_entry(newer, key)) is None:
            kept.append(i)
    return [keys[i] for i in kept], [entries[i] for i in kept]


def takes_spare(engine: Engine, needed: int, room: Room) -> bool:
    """Return True if so many bytes do not fit without the spare table.

    In that case, note that the disk is full, so that space which becomes free goes to the reserve
    first.
    """
    if needed <= room.free:
        return False
    engine.run_short()
    return True


def _nothing_fits(room: Room) -> StoreFull:
    return StoreFull(
        f"no compaction fits into the space that is left, so compaction cannot free any: room_bytes={room.most}; "
        "delete more, clear a keyspace, or free space outside of the store"
    )


def smaller_merges(version: Version, choice: Merging, context: PickerContext) -> Iterator[Merging]:
    """Iterate over smaller merges that may free space, the most useful first.

    First come merges with fewer tables of level 0, then single tables of deeper levels. Into level
    1 go the oldest tables of level 0; a merge within level 0 takes the newest.
    """
    if choice.level == 0:
        ordered = sorted(choice.upper, key=lambda table: -table.number)
        for count in range(len(ordered) - 1, 0 if choice.target else 1, -1):
            if choice.target == 0:
                yield Merging(0, tuple(ordered[:count]), (), 0)
                continue
            oldest = tuple(ordered[-count:])
            low, high = min(table.min_key for table in oldest), max(table.max_key for table in oldest)
            smaller = Merging(0, oldest, tuple(version.overlapping(1, low, high)), 1)
            if readable(smaller, context) is not None:
                yield smaller
    yield from single_merges(version, context)


def single_merges(version: Version, context: PickerContext) -> Iterator[Merging]:
    """Iterate over merges of one table with those it overlaps in the next level.

    Only tables with tombstones are taken, those with the most first.
    """
    tables = [table for level in version.levels[1 : LEVELS - 1] for table in level if table.meta.tombstones]
    for table in sorted(tables, key=lambda table: -table.meta.tombstones):
        push = readable(push_down(version, table.meta.level, table), context)
        if isinstance(push, Merging):
            yield push
