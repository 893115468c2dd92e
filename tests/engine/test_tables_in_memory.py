"""What of the tables is in memory and open: bounded, and with any bound everything is found."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from ferrokv import BlockingFerroKV, StoreBusy, StoreFull
from ferrokv.errors import CorruptionError
from ferrokv.local.storage import descriptors
from ferrokv.local.storage.drivers import complete
from ferrokv.local.storage.requests import Open, ReadAt, Request
from ferrokv.local.tree.files import TableFiles, files_max
from ferrokv.local.tree.lookups import SEARCHES_APART, SEARCHES_EACH_LOAD, SEARCHES_SLOW, make_cache
from ferrokv.local.tree.merge import RunSource
from ferrokv.local.tree.table import Table
from ferrokv.testing.simulated import SimulatedStorage

from ..support.harness import TINY, EngineHarness, ManualClock
from ..support.peer import Peer

RECORDS = 1500
BLOCKS_OF_ONE = TINY._replace(block_bytes=64, table_bytes=2_000, memtable_bytes=1 << 20, hot_cache_bytes=0)


def key(i: int) -> bytes:
    return b"key:%05d" % i


def filled(block_cache_bytes: int, **options: int) -> EngineHarness:
    """Some dozen tables of one level, each block with a record or two."""
    store = EngineHarness(
        SimulatedStorage(1), ManualClock(), BLOCKS_OF_ONE._replace(block_cache_bytes=block_cache_bytes, **options)
    )
    for i in range(RECORDS):
        store.set(key(i), b"v%d" % i)
    store.rotate()
    store.flush()
    store.compact(everything=True)
    assert len(store.engine.view.version.tables()) > 5 or "table_bytes" in options
    return store


def reads_of(store: EngineHarness, work: Callable[[], object]) -> list[ReadAt]:
    """The reads of tables that something needs."""
    reads: list[ReadAt] = []

    def note(_: int, request: Request) -> None:
        if isinstance(request, ReadAt) and request.file.name.startswith("table"):
            reads.append(request)

    store.storage.observe = note
    work()
    store.storage.observe = None
    return reads


@pytest.mark.parametrize("block_cache_bytes", [0, 500, 2_000, 20_000, 1 << 20])
def test_every_key_is_found_within_any_bound(block_cache_bytes: int) -> None:
    store = filled(block_cache_bytes)
    cache = store.engine.block_cache
    largest = max(8 * len(complete(table._load_filter(), store.storage)) for table in tables_of(store))
    for step in (1, 7, 1, 13):
        for i in range(RECORDS):
            number = i * step % RECORDS
            assert store.get(key(number)) == b"v%d" % number
            assert store.get(key(number) + b"x") is None
            assert cache.lookup_bytes <= 0.75 * block_cache_bytes + largest + 2_000
    assert [pair[0] for pair in store.scan()] == [key(i) for i in range(RECORDS)]
    assert counted(store) == cache.lookup_bytes


def tables_of(store: EngineHarness) -> list[Table]:
    return store.engine.view.version.tables()


def counted(store: EngineHarness) -> int:
    """What the accounts should say, counted again."""
    total = 0
    for lookup in {id(table._lookup): table._lookup for table in tables_of(store)}.values():
        total += 0 if lookup.words is None else 8 * len(lookup.words) + 80
        total += 0 if lookup.summary is None else lookup.summary.nbytes
        total += 0 if lookup.index is None else lookup.index.nbytes
        total += lookup.keys_bytes if lookup.keys is not None else 0
    return total


def test_filters_and_indexes_stay_and_blocks_come_and_go() -> None:
    """With room for them, a get reads one block, and nothing else, however many blocks were read in between."""
    store = filled(30_000)
    for i in range(RECORDS):
        store.get(key(i))
    for i in range(0, RECORDS, 7):
        reads = reads_of(store, lambda i=i: store.get(key(i)))
        assert len(reads) <= 1


def test_a_filter_that_is_larger_than_the_bound_is_not_read_for_each_key() -> None:
    store = filled(100, table_bytes=1 << 20)
    (table,) = tables_of(store)
    store.get(key(1))
    store.get(key(2))
    filter_offset, _ = table._lookup.places or (0, 0)
    for i in range(20):
        reads = reads_of(store, lambda i=i: store.get(key(i * 20)))
        assert all(read.offset != filter_offset for read in reads)
        assert len(reads) == 4, "three short reads for the place of the block"
        assert sum(read.size for read in reads) < 1_000
        assert reads_of(store, lambda i=i: store.get(key(i * 20) + b"absent")) == [] or i


def test_a_table_that_is_much_used_gets_its_index_in_the_place_of_another() -> None:
    store = filled(14_000)
    tables = tables_of(store)
    for _ in range(2):
        for i in range(RECORDS):
            store.get(key(i))
    unlucky = next(table for table in tables[1:] if table._lookup.index is None)
    first = int(unlucky.min_key[-5:])
    for _ in range(SEARCHES_APART + 1):
        store.get(key(first))
        store.get(key(first + 1))
    assert unlucky._lookup.index is not None


def test_a_table_that_is_much_scanned_gets_its_index_in_the_place_of_another() -> None:
    store = filled(14_000)
    for _ in range(2):
        for i in range(RECORDS):
            store.get(key(i))
    unlucky = next(table for table in tables_of(store)[1:] if table._lookup.index is None)
    for _ in range(SEARCHES_APART // SEARCHES_EACH_LOAD + 1):
        complete(RunSource([unlucky]).next_page(), store.storage)
    assert unlucky._lookup.index is not None


def test_indexes_that_do_not_fit_do_not_push_each_other_out_for_every_key() -> None:
    store = filled(14_000)
    draw = Random(5)
    for i in range(RECORDS):
        store.get(key(i))
    tables = {table.name: table for table in tables_of(store)}
    assert any(table._lookup.index is None for table in tables.values())

    def get_some() -> None:
        for _ in range(640):
            store.get(key(draw.randrange(RECORDS)))

    whole = [read for read in reads_of(store, get_some) if read.offset == tables[read.file.name]._lookup.places[1]]
    assert len(whole) <= 640 // SEARCHES_APART


def test_many_searches_make_a_list_of_keys_if_there_is_room() -> None:
    store = filled(1 << 20)
    table = tables_of(store)[1]
    first = int(table.min_key[-5:])
    for _ in range(SEARCHES_SLOW + 2):
        assert store.get(key(first)) == b"v%d" % first
    assert table._lookup.keys == complete(table.load_index(), store.storage).last_keys()
    assert store.get(key(first)) == b"v%d" % first
    assert reads_of(store, lambda: store.get(key(first))) == []


def test_damage_behind_the_summary_is_named() -> None:
    store = filled(100, table_bytes=1 << 20)
    (table,) = tables_of(store)
    store.get(key(1))
    inode = store.storage.machine.names[table.name]
    _, index_offset = table._lookup.places or (0, 0)
    *_, (start, size) = table._lookup.summary.places(3)  # the keys: the search would end in a wrong block
    for i in range(size):
        inode.content[index_offset + start + i] ^= 1
    assert store.get(key(1)) == b"v1"
    damaged = []
    for i in range(RECORDS):
        try:
            assert store.get(key(i)) == b"v%d" % i
        except CorruptionError as error:
            damaged.append(error.path)
    assert set(damaged) == {table.name}
    assert 16 <= len(damaged) < RECORDS // 4, "one group of blocks"


def test_so_many_tables_are_open_and_no_more() -> None:
    assert files_max(256, 1 << 20) == 256
    assert files_max(256, 256) == 64
    assert files_max(256, 3) == 1
    store = filled(0, open_tables_max=4)
    opened: list[str] = []

    def note(_: int, request: Request) -> None:
        if isinstance(request, Open):
            opened.append(request.name)

    for i in range(RECORDS):
        store.get(key(i))
    store.storage.observe = note
    first = tables_of(store)[0]
    for _ in range(5):
        store.get(first.min_key[5:])
    assert len(opened) <= 1, "what is used stays open"
    files = store.engine.block_cache.files
    assert 0 < sum(files.find(table.number) is not None for table in tables_of(store)) <= 5


def test_opening_a_store_opens_no_table_that_it_does_not_need() -> None:
    store = filled(1 << 20, open_tables_max=100)
    opened: list[str] = []

    def note(_: int, request: Request) -> None:
        if isinstance(request, Open) and request.name.startswith("table"):
            opened.append(request.name)

    store.storage.observe = note
    again = store.reopen()
    assert len(set(opened)) <= 1, "the one with the keyspaces"
    assert again.get(key(5)) == b"v5"


def test_a_number_whose_table_came_to_nothing_may_be_used_by_another_process() -> None:
    """What this process had written under it must not be read for the other's table."""
    store = filled(0, open_tables_max=100)
    for i in range(0, RECORDS, 50):
        store.set(key(i), b"more")
    store.rotate()
    store.flush()
    other = EngineHarness(SimulatedStorage(2, shares=store.storage), store.clock, store.options)
    made: list[str] = []

    def fill_the_disk(_: int, request: Request) -> None:
        if isinstance(request, Open) and request.create:
            if len(made) == 2:
                raise OSError(errno.ENOSPC, "injected")
            made.append(request.name)

    other.storage.observe = fill_the_disk
    with pytest.raises(StoreFull):
        other.compact(everything=True)
    other.storage.observe = None
    for i in range(RECORDS):
        store.set(key(i), b"w%d" % i)
    store.rotate()
    store.flush()
    assert made[0] in {table.name for table in tables_of(store)}
    assert [other.get(key(i)) for i in range(RECORDS)] == [b"w%d" % i for i in range(RECORDS)]
    other.refresh()
    assert [other.get(key(i)) for i in range(RECORDS)] == [b"w%d" % i for i in range(RECORDS)]


def test_no_descriptor_for_a_table_is_an_error_by_name() -> None:
    store = filled(0, open_tables_max=1)

    def refuse(_: int, request: Request) -> None:
        if isinstance(request, Open):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    store.storage.observe = refuse
    with pytest.raises(StoreBusy, match="no free file descriptor to read a table"):
        store.get(key(1))
    store.storage.observe = None
    assert store.get(key(1)) == b"v1"


def test_whoever_finds_no_descriptor_gets_those_of_the_tables() -> None:
    storage = SimulatedStorage(1)
    cache = make_cache(storage, TINY)
    assert isinstance(cache.files, TableFiles)
    given: list[str] = []
    descriptors.register(storage, lambda: given.append("back"))
    try:

        def call() -> str:
            if not given:
                raise OSError(errno.ENFILE, "none")
            return "opened"

        assert descriptors.with_descriptor(call) == "opened"
        assert given == ["back"]
        with pytest.raises(FileNotFoundError):
            descriptors.with_descriptor(lambda: os.open("/does/not/exist", os.O_RDONLY))
        assert given == ["back"]
    finally:
        descriptors.forget(storage)


OPTIONS = {"memtable_bytes": 3_000, "table_bytes": 1_000, "block_bytes": 500, "busy_timeout": 60}


def test_with_64_descriptors_a_store_writes_merges_closes_and_opens_again(store_path: Path) -> None:
    for _ in range(2):
        with Peer(store_path, descriptors=64, **{**OPTIONS, "table_bytes": 500}) as peer:
            peer.call("fill", 1500)
            peer.call("flush")
            peer.call("compact")
            stats = peer.call("stats")
            assert sum(level[0] for level in stats["levels"]) > 64
            assert len(peer.call("scan")) == 1500
            assert peer.call("get", "fill:999") == "v" * 100
            peer.end()
            assert peer.process.returncode == 0
    with BlockingFerroKV.open(store_path) as db:
        assert db.verify().ok


USE_THEM_UP = """
import errno, os, resource, sys
from ferrokv import BlockingFerroKV, FerroKVError
options = dict(memtable_bytes=3_000, table_bytes=1_000, block_bytes=500, block_cache_bytes=0, hot_cache_bytes=0)
resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))
db = BlockingFerroKV.open(sys.argv[1], **options)
for i in range(1000):
    db.set(f"key:{i}", "v" * 100)
db.compact()
for i in range(0, 1000, 7):
    assert db.get(f"key:{i}")
taken = []
try:
    while True:
        taken.append(os.dup(0))
except OSError as error:
    assert error.errno == errno.EMFILE
# The tables that were open make room for each other, and for whatever else the store opens.
for i in range(0, 1000, 7):
    assert db.get(f"key:{i}")
for i in range(200):
    db.set(f"more:{i}", "v" * 100)
db.compact()
assert len(list(db.scan())) == 1200
try:
    while True:
        taken.append(os.dup(0))
except OSError:
    pass
try:
    assert db.get("key:5") == b"v" * 100
except FerroKVError as error:
    print(type(error).__name__)
db.close()
print("closed", len(taken) > 100)
"""


def test_a_program_that_uses_up_its_descriptors_reads_writes_and_closes(
    store_path: Path, run_python: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    done = run_python(USE_THEM_UP, str(store_path))
    assert done.stdout.split()[-2:] == ["closed", "True"], done.stderr
    with BlockingFerroKV.open(store_path) as db:
        assert len(list(db.scan())) == 1200


def test_a_reader_that_cannot_hold_all_tables_says_so(store_path: Path) -> None:
    options = {**OPTIONS, "open_tables_max": 1, "block_cache_bytes": 0, "hot_cache_bytes": 0}
    with BlockingFerroKV.open(store_path, **options) as db:
        for i in range(2000):
            db.set(f"key:{i:04d}", "v" * 100)
        db.compact()
        assert sum(level.tables for level in db.stats().levels) > 100
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with BlockingFerroKV.open(store_path, read_only=True, **options) as reader:
            used = set(map(int, os.listdir("/proc/self/fd")))
            limit = [number for number in range(4_000) if number not in used][40]
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
            try:
                for i in range(0, 2000, 11):
                    assert reader.get(f"key:{i:04d}") == b"v" * 100
                with pytest.raises(StoreBusy, match="no free file descriptor"):
                    reader.snapshot()
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            with reader.snapshot() as snapshot:
                assert len(list(snapshot.scan())) == 2000
