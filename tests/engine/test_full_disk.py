"""A disk that is full: opening, reading, deleting and clearing go on, and give space back (docs/decisions/0021-a-full-disk.md).

The disk is simulated, so that its last sector can be counted, its power be cut at each request, and no right to mount one is
needed.
`test_small_disks.py` does the same with threads and real files.
"""

from __future__ import annotations

from contextlib import suppress
from random import Random

import pytest

from ferrokv.errors import StoreFull
from ferrokv.local.commands import keys, keyspaces, strings
from ferrokv.local.compaction.compaction import _carry_out as carry_out
from ferrokv.local.compaction.compaction import compact_once
from ferrokv.local.compaction.fitting import SizeEstimator
from ferrokv.local.compaction.flush import flush, flush_due
from ferrokv.local.compaction.holder import end_compacting
from ferrokv.local.compaction.install import remove_files
from ferrokv.local.compaction.picker import Merging, rewriting
from ferrokv.local.compaction.survivors import Survivors
from ferrokv.local.engine.space import deletes, rebuild
from ferrokv.local.engine.spares import (
    ALL_SPARES,
    ASIDE,
    SPARE_CURRENT,
    SPARE_MANIFEST,
    SPARE_TABLE,
    SPARE_WALS,
    sizes_for,
)
from ferrokv.local.format.keys import CATALOGUE_NAMES, CATALOGUE_NEXT_ID, CATALOGUE_QUOTAS, encode_prefix
from ferrokv.local.storage.drivers import complete
from ferrokv.local.storage.requests import ListDirectory, ReadAt, Rename, Request, Space, Sync
from ferrokv.local.tree.view import Catalogue
from ferrokv.options import Options
from ferrokv.testing.simulated import SimulatedStorage

from ..support.harness import SCALE, EngineHarness, ManualClock

OPTIONS = Options(
    memtable_bytes=64 << 10,
    sealed_memtables_max=3,
    table_bytes=64 << 10,
    block_bytes=512,
    level0_tables=3,
    level1_bytes=200 << 10,
    block_cache_bytes=2000,
    hot_cache_bytes=2000,
)
CAPACITY = 640 << 10
VALUE_BYTES = 2500
ROUNDS_MAX = 50


def small_disk(seed: int = 1, capacity: int = CAPACITY) -> EngineHarness:
    storage = SimulatedStorage(seed)
    storage.machine.capacity = capacity
    return EngineHarness(storage, ManualClock(), OPTIONS)


def work(store: EngineHarness) -> None:
    """What the background thread does in one round (runtime/background.py)."""
    engine = store.engine
    if engine.is_short and engine.view.active.entries:
        with suppress(StoreFull):
            store.rotate()
    with suppress(StoreFull), store.compacting():
        try:
            for _ in range(ROUNDS_MAX):
                if engine.is_short:
                    complete(rebuild(engine), store.storage)
                if not step(store):
                    return
            raise AssertionError("there is always something due")
        except StoreFull:
            end_compacting(engine)
            raise


def step(store: EngineHarness) -> bool:
    engine = store.engine
    if flush_due(engine):
        try:
            return complete(flush(engine), store.storage)
        except StoreFull:
            if not complete(compact_once(engine), store.storage):
                raise
            return True
    return complete(compact_once(engine), store.storage)


def fill(store: EngineHarness, prefix: bytes = b"key") -> list[bytes]:
    """Write until three writes in a row found no space although the background had its turn; the keys that are there."""
    random = Random(7)
    written = []
    refused = 0
    for i in range(10_000):
        key = b"%s:%05d" % (prefix, random.randrange(100_000))
        try:
            store.set(key, random.randbytes(VALUE_BYTES))
        except StoreFull:
            refused += 1
            if refused == 3:
                return sorted(set(written))
        else:
            refused = 0
            written.append(key)
        if refused or i % 10 == 0:
            work(store)
    raise AssertionError("the disk never was full")


def take_all(store: EngineHarness) -> None:
    """Another program takes what is left, to the last byte."""
    machine = store.storage.machine
    machine.foreign += max(0, machine.free)
    assert machine.free <= 0


def works_again(store: EngineHarness) -> bool:
    for _ in range(5):
        work(store)
        with suppress(StoreFull):
            store.set(b"after", b"x" * VALUE_BYTES)
            return store.get(b"after") == b"x" * VALUE_BYTES
    return False


@pytest.mark.parametrize("reopened", [False, True])
@pytest.mark.parametrize("way", ["all at once", "one by one", "every second", "clear"])
def test_deleting_on_a_disk_without_a_free_byte_brings_space_back(way: str, reopened: bool) -> None:
    store = small_disk()
    written = fill(store)
    assert len(written) > 100
    take_all(store)
    if reopened:
        store = store.reopen()
        assert [key for key, _ in store.scan()] == written
        with pytest.raises(StoreFull, match="deleting, clearing and setting quotas still work"):
            store.set(written[0], b"y" * VALUE_BYTES)
        work(store)
    gone = written[::2] if way == "every second" else written
    if way == "clear":
        store.write(keys.clear)
    elif way == "one by one":
        for i, key in enumerate(gone):
            assert store.delete(key) == 1
            if i % 10 == 0:
                work(store)
    else:
        assert store.delete(*gone) == len(gone)
    assert store.get(gone[0]) is None
    assert works_again(store)
    left = set(written) - set(gone)
    assert {key for key, _ in store.scan()} == left | {b"after"}
    assert all(name in store.storage.machine.names for name in ALL_SPARES)
    store.check()
    again = store.reopen()
    assert {key for key, _ in again.scan()} == left | {b"after"}


def test_a_full_disk_can_be_opened_any_number_of_times() -> None:
    store = small_disk()
    written = fill(store)
    take_all(store)
    for _ in range(20):
        store = store.reopen()
        assert [key for key, _ in store.scan()] == written
        assert store.delete(written.pop()) == 1
        work(store)


def test_the_reserve_is_for_what_deletes_alone() -> None:
    store = small_disk()
    written = fill(store)
    take_all(store)
    for _ in range(100):
        with pytest.raises(StoreFull):
            store.set(b"more", b"x")
        work(store)
    assert store.delete(*written[:50]) == 50


def test_space_that_comes_back_from_outside_ends_the_shortage() -> None:
    store = small_disk()
    fill(store)
    take_all(store)
    with pytest.raises(StoreFull):
        store.set(b"more", b"x" * VALUE_BYTES)
    assert store.engine.is_short
    store.storage.machine.foreign = 0
    store.storage.machine.capacity = 4 * CAPACITY
    work(store)
    assert not store.engine.is_short
    store.set(b"more", b"x" * VALUE_BYTES)


def test_a_quota_can_be_set_and_evicts_on_a_full_disk() -> None:
    store = small_disk()
    fill(store)
    take_all(store)
    with suppress(StoreFull):
        store.set(b"more", b"x" * VALUE_BYTES)
    store.write(keyspaces.set_quota, 1000)
    assert store.engine.view.catalogue.quotas == {"default": 1000}


def test_a_deletion_that_is_larger_than_the_reserve_is_refused_by_name_and_takes_nothing() -> None:
    store = small_disk()
    fill(store)
    take_all(store)
    before = set(store.storage.machine.names)
    prefix = store.engine.view.prefix("default")
    assert prefix is not None
    with pytest.raises(StoreFull, match="deleting so much at once"):
        store.write(strings.write_many, [(b"no:%05d" % i, None, None) for i in range(2000)])
    assert set(store.storage.machine.names) == before
    assert store.delete(*[key for key, _ in store.scan()][:20]) == 20


@pytest.mark.parametrize("seed", range(2 * SCALE))
def test_power_cuts_on_a_full_disk_keep_what_was_acknowledged_and_the_way_out(seed: int) -> None:
    """At each request of deleting, rotating, flushing, compacting, rebuilding the reserve and opening again."""
    store = small_disk(seed)
    left = set(fill(store))
    take_all(store)
    storage = store.storage
    allowed = [frozenset(left)]
    cuts = Random(seed)

    def cut(index: int, request: Request) -> None:
        if cuts.random() < 0.6:
            return
        check_survives(storage.after_power_cut(seed * 10_007 + index), allowed[-2:])

    storage.observe = cut
    for round_ in range(3):
        gone = sorted(left)[:: 3 - round_]
        left -= set(gone)
        allowed.append(frozenset(left))
        store.delete(*gone)
        allowed.append(frozenset(left))
        work(store)
        store = store.reopen()
        take_all(store)
    storage.observe = None
    assert {key for key, _ in store.scan()} == left


def check_survives(storage: SimulatedStorage, allowed: list[frozenset[bytes]]) -> None:
    store = EngineHarness(storage, ManualClock(), OPTIONS)
    found = frozenset(key for key, _ in store.scan())
    assert found in allowed
    store.check()
    if found:
        assert store.delete(min(found)) == 1
    store.write(keys.clear)
    assert not store.scan()
    assert works_again(store)


@pytest.mark.parametrize("name", ALL_SPARES)
def test_a_piece_of_the_reserve_that_is_missing_or_too_short_is_made_again(name: str) -> None:
    store = small_disk()
    work(store)
    names = store.storage.machine.names
    size = len(names[name].content)
    for damage in ("missing", "short", "left aside"):
        if damage == "missing":
            del names[name]
        elif damage == "short":
            del names[name].content[size // 2 :]
        else:
            names[name + ASIDE] = names.pop(name)
        store = store.reopen()
        names = store.storage.machine.names
        assert name + ASIDE not in names
        work(store)
        assert len(names[name].content) == size
        assert not store.engine.is_short


def test_a_store_without_a_reserve_opens_on_a_full_disk_while_a_sector_is_free() -> None:
    store = small_disk()
    store.set(b"a", b"1")
    work(store)
    machine = store.storage.machine
    for name in ALL_SPARES:
        del machine.names[name]
    machine.foreign = 0
    machine.foreign = machine.free - 512
    opened = store.reopen()
    assert opened.get(b"a") == b"1"
    assert opened.engine.is_short
    assert opened.delete(b"a") == 1


def test_which_frames_delete() -> None:
    catalogue = Catalogue({"default": encode_prefix(1)}, 2, {})
    key, name = encode_prefix(1) + b"key", CATALOGUE_NAMES + b"default"
    gone: tuple[bytes | None, int] = (None, 0)
    assert deletes({key: gone}, catalogue)
    assert deletes({key: gone, key + b"root": (b"r" * 40, 0)}, catalogue)
    assert deletes({name: (b"\0\0\0\2", 0), CATALOGUE_NEXT_ID: (b"\0\0\0\3", 0), key: (b"e" * 8, 0)}, catalogue)
    assert deletes({CATALOGUE_QUOTAS + b"default": (bytes(8), 0)}, catalogue)
    assert not deletes({}, catalogue)
    assert not deletes({key: (b"", 0)}, catalogue)
    assert not deletes({key: gone, key + b"2": (b"v" * 65, 0)}, catalogue)
    assert not deletes({CATALOGUE_NAMES + b"new": (b"\0\0\0\2", 0), key: (b"v", 0)}, catalogue), "made, not cleared"


def test_the_reserve_takes_its_share_of_the_disk_only() -> None:
    mib = 1 << 20
    assert sizes_for(8 * mib, Space(0, 1 << 50))[:2] == (mib, 10 * mib)
    assert sizes_for(8 * mib, Space(0, 16 * mib))[:2] == (mib // 2, 4 * mib)
    assert set(sizes_for(600, Space(0, 100)).by_name()) == {*SPARE_WALS, SPARE_TABLE, SPARE_MANIFEST, SPARE_CURRENT}


@pytest.mark.parametrize("seed", range(20))
def test_what_a_table_will_take_is_never_weighed_too_low(seed: int) -> None:
    """By writing it: keys and values of all sizes, in blocks of all sizes."""
    random = Random(seed)
    options = OPTIONS._replace(block_bytes=random.choice((64, 512, 4096)), memtable_bytes=1 << 20)
    store = EngineHarness(SimulatedStorage(seed), ManualClock(), options)
    for _ in range(random.choice((1, 30, 200))):
        key = random.randbytes(random.choice((1, 8, 300)))
        store.set(key, random.randbytes(random.choice((0, 5, 90, 5000))), random.choice((None, 10_000_000)))
    entries = sorted(store.engine.view.active.entries.items())
    weigher = SizeEstimator(options.block_bytes, options.table_bytes)
    complete(weigher.add([key for key, _ in entries], [entry for _, entry in entries]), store.storage)
    store.rotate()
    store.flush()
    (table,) = store.engine.view.version.tables()
    assert table.meta.file_bytes <= weigher.bytes <= 2 * table.meta.file_bytes + 3 * 4096


def test_a_manifest_that_is_kept_is_made_durable_first() -> None:
    """Its last edit may be in the page cache only, and an opening removes files because of it."""
    store = small_disk()
    store.set(b"a", b"1")
    store.rotate()
    store.flush()
    work(store)
    machine = store.storage.machine
    for name in (SPARE_MANIFEST, SPARE_CURRENT):
        del machine.names[name]
    inode = machine.names[store.engine.compactor.manifest.file.name]
    edits = bytes(inode.durable)
    inode.durable[-100:] = bytes(100)  # as if a sync had failed, and then a killed process been forgotten
    inode.durable[store.engine.compactor.manifest.position.end - 60 :] = b""
    take_all(store)
    opened = store.reopen()
    assert opened.engine.compactor.manifest.file.name == store.engine.compactor.manifest.file.name, (
        "there was room for a new one"
    )
    assert bytes(inode.durable[: len(edits)]).rstrip(b"\0") == edits.rstrip(b"\0")
    assert opened.get(b"a") == b"1"


def test_a_piece_that_goes_while_the_shortage_ends_is_missed() -> None:
    store = small_disk()
    work(store)
    engine = store.engine
    engine.run_short()

    def take(index: int, request: Request) -> None:
        if isinstance(request, ListDirectory) and not engine.is_short:
            store.storage.machine.names.pop(SPARE_WALS[0], None)  # a writer of another process renames it

    store.storage.observe = take
    with store.compacting():
        assert not complete(rebuild(engine), store.storage)
    assert engine.is_short


def test_the_oldest_memtables_are_flushed_when_all_do_not_fit() -> None:
    store = small_disk()
    work(store)
    for part in range(2):
        for i in range(20):
            store.set(b"%d:%02d" % (part, i), bytes([i]) * VALUE_BYTES)
        store.rotate()
    engine = store.engine
    assert len(engine.view.sealed) == 2
    take_all(store)
    assert store.flush()
    assert [len(memtable.entries) for memtable in engine.view.sealed] == [20], "the newer one waits"
    store = store.reopen()
    assert len(store.scan()) == 40


def test_merging_the_newest_tables_keeps_their_tombstones() -> None:
    """What they hide is in an older table of the same level."""
    store = small_disk()
    for i in range(10):
        store.set(b"%02d" % i, b"x" * VALUE_BYTES)
    store.rotate()
    store.flush()
    for key in (b"00", b"01"):
        store.delete(key)
        store.rotate()
        store.flush()
    version = store.engine.view.version
    newest = version.levels[0][:2]
    assert [table.meta.tombstones for table in newest] == [1, 1]
    with store.compacting():
        complete(
            carry_out(store.engine, Merging(0, newest, (), 0), Survivors(store.clock(), store.engine.view.catalogue)),
            store.storage,
        )
    assert len(store.engine.view.version.levels[0]) == 2
    assert [key for key, _ in store.scan()] == [b"%02d" % i for i in range(2, 10)]


def test_a_table_is_stripped_of_what_newer_levels_hide() -> None:
    store = small_disk()
    for i in range(10):
        store.set(b"%02d" % i, b"x" * VALUE_BYTES)
    store.rotate()
    store.flush()
    store.compact(everything=True)
    (table,) = store.engine.view.version.tables()
    for i in range(8):
        store.delete(b"%02d" % i)
    choice = rewriting(table)._replace(stripped=True)
    with store.compacting():
        survivors = Survivors(store.clock(), store.engine.view.catalogue)
        complete(carry_out(store.engine, choice, survivors), store.storage)
    (stripped,) = store.engine.view.version.tables()
    assert (stripped.meta.level, stripped.meta.records) == (table.meta.level, 2 + (table.meta.records - 10))
    assert [key for key, _ in store.scan()] == [b"08", b"09"]
    store.check()


def test_the_write_that_finds_the_disk_full_takes_nothing_of_the_reserve() -> None:
    store = small_disk()
    take_all(store)

    def write_on() -> None:
        for i in range(200):
            store.set(b"%d" % i, b"x" * VALUE_BYTES)

    with pytest.raises(StoreFull, match="writing found no space"):
        write_on()
    assert set(ALL_SPARES) <= set(store.storage.machine.names)


def close_and_open(store: EngineHarness) -> EngineHarness:
    """The store opened again behind an end that flushes (runtime/store.py)."""
    engine = store.engine
    with suppress(StoreFull):
        store.rotate()
    with suppress(StoreFull), store.compacting():
        complete(flush(engine), store.storage)
        complete(rebuild(engine), store.storage)
    return store.reopen()


@pytest.mark.parametrize("way", ["all at once", "one by one"])
def test_a_program_that_takes_every_byte_at_any_moment_does_not_bar_the_way_out(way: str) -> None:
    """At each request of closing, opening, flushing, compacting and rebuilding the reserve, on a disk that is full already."""
    full = small_disk()
    written = fill(full)
    take_all(full)
    moments = [0]  # the requests of the longest of these lives
    for moment in range(0, 10_000, 1 if SCALE > 1 else 3):
        if moment > max(moments):
            break
        store = EngineHarness(full.storage.after_power_cut(moment), ManualClock(), OPTIONS)
        moments.append(live_on(store, moment))
        take_all(store)
        if way == "all at once":
            assert store.delete(*written) == len(written), moment
        else:
            for i, key in enumerate(written):
                assert store.delete(key) == 1, moment
                if i % 10 == 0:
                    work(store)
        assert works_again(store), moment
        assert [key for key, _ in store.scan()] == [b"after"]


def live_on(store: EngineHarness, moment: int) -> int:
    """How many requests closing, opening and the background's work make. At one of them all that is free is taken."""
    seen = []

    def greedy(index: int, request: Request) -> None:
        if not isinstance(request, ReadAt):
            seen.append(request)
            if len(seen) == moment:
                take_all(store)

    store.storage.observe = greedy
    # As at the end of a process (runtime/store.py).
    with suppress(StoreFull):
        store.rotate()
    with suppress(StoreFull), store.compacting():
        complete(flush(store.engine), store.storage)
        complete(rebuild(store.engine), store.storage)
    store.storage.close()
    again = EngineHarness(store.storage, store.clock, OPTIONS)
    work(again)
    work(again)
    store.storage.observe = None
    store.engine = again.engine
    return len(seen)


def test_a_flush_keeps_the_rest_of_the_spare_table_from_others() -> None:
    store = small_disk()
    work(store)
    store.set(b"a", b"1")
    store.rotate()
    take_all(store)
    before = len(store.storage.machine.names[SPARE_TABLE].content)
    store.storage.observe = lambda index, request: take_all(store) if isinstance(request, Sync) else None
    assert store.flush()
    assert len(store.storage.machine.names[SPARE_TABLE].content) == before // 4096 * 4096 - 4096


@pytest.mark.parametrize("what", ["flush", "merge"])
def test_what_finds_no_room_in_the_middle_gives_the_spare_table_back(what: str) -> None:
    """It was weighed together with what was free then, and somebody has taken that meanwhile."""
    store = small_disk()
    random = Random(3)
    for _ in range(2):
        for i in range(12):
            store.set(b"key:%02d" % i, random.randbytes(VALUE_BYTES))
        store.rotate()
        if what == "merge":
            store.flush()
    machine = store.storage.machine
    spare = machine.names[SPARE_TABLE]
    del spare.content[16 << 10 :]
    machine.foreign += machine.free - (28 << 10)

    def greedy(index: int, request: Request) -> None:
        if isinstance(request, Rename) and request.old == SPARE_TABLE:
            machine.foreign += machine.free

    store.storage.observe = greedy
    level0 = store.engine.view.version.levels[0]
    survivors = Survivors(store.clock(), store.engine.view.catalogue)
    merge = carry_out(store.engine, Merging(0, level0, (), 1), survivors)
    with store.compacting(), pytest.raises(StoreFull):
        complete(flush(store.engine) if what == "flush" else merge, store.storage)
    assert machine.names[SPARE_TABLE] is spare


def test_a_wal_that_is_missing_is_made_of_the_spare_table() -> None:
    store = small_disk()
    work(store)
    for i in range(8):
        store.set(b"%d" % i, b"x" * VALUE_BYTES)
    take_all(store)
    complete(remove_files(SPARE_WALS), store.storage)
    take_all(store)
    store.engine.run_short()
    with pytest.raises(StoreFull):
        store.rotate()
    work(store)
    assert set(SPARE_WALS) <= set(store.storage.machine.names)
    assert store.delete(b"0") == 1
    store.rotate()
    assert store.flush()
    assert works_again(store)


def test_the_spare_table_keeps_what_a_memtable_takes() -> None:
    store = small_disk()
    work(store)
    while store.engine.view.active.wal_bytes < OPTIONS.memtable_bytes * 15 // 16:
        store.set(b"a", b"x" * VALUE_BYTES)
    complete(remove_files(SPARE_WALS), store.storage)
    take_all(store)
    store.engine.run_short()
    before = len(store.storage.machine.names[SPARE_TABLE].content)
    work(store)
    assert len(store.storage.machine.names[SPARE_TABLE].content) == before


def test_a_merge_of_several_tables_has_all_of_the_spare_table() -> None:
    """What the first one leaves of it is the reserve's again, and is there for the next."""
    store = small_disk()
    random = Random(3)
    for _ in range(2):
        store.write(strings.write_many, [(b"key:%04d" % i, random.randbytes(60), None) for i in range(600)])
        store.rotate()
        store.flush()
    machine = store.storage.machine
    store.engine.options = OPTIONS._replace(table_bytes=16 << 10)
    machine.foreign += machine.free - (8 << 10)
    level0 = store.engine.view.version.levels[0]
    survivors = Survivors(store.clock(), store.engine.view.catalogue)
    with store.compacting():
        complete(carry_out(store.engine, Merging(0, level0, (), 1), survivors), store.storage)
    assert len(store.engine.view.version.levels[1]) > 2
    assert len(store.scan()) == 600


def test_a_spare_table_that_was_written_to_serves_as_a_wal() -> None:
    """As after a merge that found no room in the middle, when the next opening finds no other room."""
    store = small_disk()
    work(store)
    for key in b"abcd":
        store.set(bytes([key]), b"1")
    names = store.storage.machine.names
    spare = names[SPARE_TABLE]
    spare.content[:] = Random(1).randbytes(len(spare.content))
    complete(remove_files(SPARE_WALS), store.storage)
    take_all(store)
    for key in b"abc":
        store = store.reopen()
        assert spare in names.values()
        assert SPARE_TABLE in names, "the rest of it"
        assert store.delete(bytes([key])) == 1
        store.check()
        take_all(store)
    assert [key for key, _ in store.reopen().scan()] == [b"d"]
