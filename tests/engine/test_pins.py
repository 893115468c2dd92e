"""Tables that somebody reads stay until nobody does: across processes, at every interleaving, and whoever dies."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from ferrokv import BlockingFerroKV, StoreBusy, StoreFull
from ferrokv.errors import CorruptionError
from ferrokv.local.compaction.flush import flush
from ferrokv.local.engine.manifest import read_manifest
from ferrokv.local.engine.removal import oldest_pin
from ferrokv.local.engine.slots import Pins, claim_slot
from ferrokv.local.format import control
from ferrokv.local.format.current import decode_current
from ferrokv.local.log.replica import refresh
from ferrokv.local.names import numbers_of
from ferrokv.local.storage.drivers import complete
from ferrokv.local.storage.requests import Op, Request, WriteAt
from ferrokv.testing.simulated import SimulatedStorage

from ..processes.test_interleavings import old_data, opened, preempting, schedules
from ..support.harness import SCALE, TINY, EngineHarness, ManualClock
from ..support.peer import Peer
from ..support.simulation import IDLE, SimulatedProcess, World, finish, maintain

COLD = TINY._replace(block_cache_bytes=0, hot_cache_bytes=0, open_tables_max=1)  # every read opens its table
OLD_KEYS = (b"deep:0", b"deep:1", b"deep:2")  # in tables alone


def old_tables(world: World) -> None:
    """Two tables in level 0."""
    process = SimulatedProcess(world, 51, lambda _: None)
    store = process.open()
    for value in (b"1", b"2"):
        for key in OLD_KEYS:
            process.call("set", key, value)
        store.rotate()
        store.flush()
    process.close()


def read_a_snapshot(process: SimulatedProcess) -> None:
    """A snapshot says twice the same, of every key."""
    store = process.store
    assert store is not None
    view = store.pin()
    first = store.scan(view)
    assert [key for key, _ in first if key in OLD_KEYS] == list(OLD_KEYS)
    assert store.scan(view, reverse=True) == first[::-1]
    assert [(key, store.get(key, view)) for key, _ in first] == first
    view.unpin()
    assert_nothing_is_pinned(process)


def read_keys(process: SimulatedProcess) -> None:
    """Point reads pin nothing, and miss nothing."""
    for _ in range(2):
        for key in OLD_KEYS:
            process.call("get", key)


def scan_in_a_transaction(process: SimulatedProcess) -> None:
    """What a command scans on the writer's turn is there."""
    store = process.store
    assert store is not None
    found = store.write(lambda tx: tx.complete(tx.read_parts(tx.prefix, 6)))
    assert [key for key, _ in found if key in OLD_KEYS] == list(OLD_KEYS)
    assert store.write(lambda tx: [tx.get(key) is not None for key in OLD_KEYS]) == [True] * 3
    assert_nothing_is_pinned(process)


def assert_nothing_is_pinned(process: SimulatedProcess) -> None:
    assert process.store is not None
    assert process.store.engine.slot is not None
    assert process.store.engine.slot[control.PINNED] == 0


def replace_tables(process: SimulatedProcess) -> None:
    """Compactions that leave no table as it was."""
    process.call("set", b"deep:1", b"new")
    for kind in ("rotate", "flush", "compact"):
        maintain(process, kind)


READERS = {"snapshot": read_a_snapshot, "point_reads": read_keys, "transaction": scan_in_a_transaction}


def prepare(reader: str, seed: int = 0) -> World:
    world = World(seed, COLD)
    old_tables(world)
    old_data(world)
    opened(world, READERS[reader])
    opened(world, replace_tables)
    return world


def tables_of(world: World) -> tuple[set[int], set[int]]:
    """The numbers of table files, and of the tables that the manifest names."""
    names = world.disk.machine.names
    current = decode_current(bytes(names["CURRENT"].content))
    manifest = complete(read_manifest(current), SimulatedStorage(0, shares=world.disk))
    return set(numbers_of("table", names)), set(manifest.tables.metas)


def judge(world: World) -> None:
    """Everything is in order, and no table is left behind by anybody."""
    finish(world)
    found, named = tables_of(world)
    assert found == named


@pytest.mark.parametrize("reader", READERS)
def test_a_reader_beside_compactions_finds_its_tables_at_every_interleaving(reader: str) -> None:
    world = prepare(reader)
    world.run(preempting((), 1))
    steps = sum(process.steps for process in world.processes)
    waited = 0
    for first in (1, 2):
        for points in schedules(steps, 150 * SCALE):
            world = prepare(reader)
            world.run(preempting(points, first))
            assert all(process.done for process in world.processes)
            compactor = world.processes[1].store
            assert compactor is not None
            waited += bool(compactor.engine.compactor.waiting)
            judge(world)
    assert waited > 0 or reader != "snapshot"


def test_the_tables_of_a_reader_that_dies_go_at_every_step() -> None:
    step = died = waited = 0
    while died == step:
        step += 1
        world = prepare("snapshot", seed=step)
        reader, compactor = world.processes

        def choose(
            ready: list[SimulatedProcess], reader: SimulatedProcess = reader, step: int = step
        ) -> SimulatedProcess | None:
            """The reader up to a step, then the other, then the reader dies."""
            if reader.steps < step and reader in ready:
                return reader
            others = [process for process in ready if process is not reader]
            if not others and not reader.done:
                reader.kill()
                return IDLE
            return others[0] if others else IDLE

        world.run(choose)
        died += not reader.storage.alive
        store = compactor.store
        assert store is not None
        before = len(store.engine.compactor.waiting)
        waited += bool(before)
        store.rotate()
        store.flush()
        assert not store.engine.compactor.waiting, "the pins of a dead process count"
        judge(world)
    assert step > 30
    assert waited


def two(options=TINY) -> tuple[EngineHarness, EngineHarness]:
    """Two processes on one store with a table each of them knows."""
    clock = ManualClock()
    first = EngineHarness(SimulatedStorage(1), clock, options)
    second = EngineHarness(SimulatedStorage(2, shares=first.storage), clock, options)
    for key in (b"a", b"b"):
        first.set(key, b"1")
        first.rotate()
        first.flush()
    return first, second


def table_files(store: EngineHarness) -> set[int]:
    return set(numbers_of("table", store.storage.machine.names))


def test_what_the_dead_left_to_wait_is_found_by_the_next_compactor() -> None:
    first, second = two(COLD)
    view = second.pin()
    before = table_files(first)
    first.compact(everything=True)
    assert table_files(first) > before
    assert sum(table.bytes for table in first.engine.compactor.waiting) > 0
    first.storage.kill()
    third = EngineHarness(SimulatedStorage(3, shares=second.storage), second.clock, COLD)
    third.set(b"c", b"1")
    third.rotate()
    third.flush()
    assert table_files(third) > before, "they are still read"
    assert [key for key, _ in second.scan(view)] == [b"a", b"b"]
    view.unpin()
    third.set(b"d", b"1")
    third.rotate()
    third.flush()
    assert table_files(third) == set(third.engine.view.version.numbers)
    third.check()


def test_the_oldest_of_several_pins_counts_until_it_is_given_back() -> None:
    first, second = two()
    old = second.pin()
    first.compact(everything=True)
    second.refresh()
    young = second.pin()
    assert oldest_pin(first.engine) < first.engine.seen_version
    waiting = {table.name for table in first.engine.compactor.waiting}
    young.unpin()
    first.flush()
    assert {table.name for table in first.engine.compactor.waiting} == waiting
    young = second.pin()
    old.unpin()
    assert oldest_pin(first.engine) == first.engine.seen_version
    with first.compacting():
        assert not first.engine.compactor.waiting
    young.unpin()
    assert oldest_pin(first.engine) == 0


def test_one_pin_that_is_given_back_in_the_middle_of_another_is_told_later() -> None:
    """As a destructor does that comes in the thread that holds the lock."""
    words = memoryview(control.encode_page(bytes(16), bytes(16), 1)).cast("Q").tolist()
    pins = Pins(lambda: 1)
    pins.slot = claim_slot(words, f"{1:016x}", lambda _: True)
    pins.add(5)
    pins.add(7)
    with pins._lock:
        pins.give_back(5)
        pins.settle()
        assert pins.slot[control.PINNED] == 5
        with pytest.raises(StoreBusy, match="signal handler or destructor"):
            pins.add(3)
    pins.settle()
    assert pins.slot[control.PINNED] == 7
    pins.give_back(7)
    pins.settle()
    assert pins.slot[control.PINNED] == 0


def test_a_forked_child_leaves_the_pins_of_its_parent_alone() -> None:
    words = memoryview(control.encode_page(bytes(16), bytes(16), 1)).cast("Q").tolist()
    pid = 1
    pins = Pins(lambda: pid)
    pins.slot = claim_slot(words, f"{1:016x}", lambda _: True)
    pins.add(5)
    pid = 2
    pins.give_back(5)
    pins.settle()
    pins.leave()
    assert claim_slot(words, f"{2:016x}", lambda _: True).number == 1
    assert words[control.slot_start(0) + control.PINNED] == 5


def test_a_table_that_is_missing_although_it_is_pinned_is_damage() -> None:
    first, second = two(COLD)
    view = second.pin()
    (name, *_) = (name for name in first.storage.machine.names if name.startswith("table"))
    del first.storage.machine.names[name]
    with pytest.raises(CorruptionError, match=name):
        second.scan(view)
    view.unpin()


def test_tables_of_an_edit_in_doubt_stay_while_somebody_reads_them() -> None:
    """An edit whose write failed may be whole all the same, and a newcomer reads it."""
    first, _ = two(COLD)
    first.set(b"c", b"1")
    first.rotate()

    def write_and_fail(_: int, request: Request) -> None:
        if isinstance(request, WriteAt) and request.file.name.startswith("manifest"):
            first.storage._write(request)
            raise OSError(errno.ENOSPC, "injected")

    with first.compacting():
        first.storage.observe = write_and_fail
        with pytest.raises(StoreFull):
            complete(flush(first.engine), first.storage)
        first.storage.observe = None
        third = EngineHarness(SimulatedStorage(3, shares=first.storage), first.clock, COLD)
        (doubtful,) = third.engine.view.version.numbers - first.engine.view.version.numbers
        view = third.pin()
        complete(flush(first.engine), first.storage)
    assert doubtful not in first.engine.view.version.numbers
    assert [key for key, _ in third.scan(view)] == [b"a", b"b", b"c"]
    assert third.get(b"c") == b"1"
    view.unpin()
    third.refresh()
    with first.compacting():
        assert doubtful not in table_files(first)
    assert third.get(b"c") == b"1"
    assert third.engine.view.version.numbers == first.engine.view.version.numbers
    third.check()


def test_threads_that_take_over_tables_do_not_undo_each_other() -> None:
    """One stops at each of its requests while another compacts."""
    step, ended = 0, False
    while not ended:
        step += 1
        first, second = two()
        for store in (second, first):
            store.set(b"key", b"%d" % step)
            store.rotate()
        second.flush()
        thread = Steps(refresh(first.engine, anew=True), first)
        ended = over = not thread.go_on(step)
        first.compact(everything=True)
        numbers = first.engine.view.version.numbers
        while not over:
            over = not thread.go_on(1)
            assert first.engine.view.version.numbers == numbers, "not even for a moment"
        assert first.engine.view.version.numbers == numbers
        assert first.engine.seen_version == first.engine.words[control.VERSION]
        assert first.get(b"key") == b"%d" % step
        first.check()
    assert step > 3


class Steps:
    """An operation that stops behind each request that it makes."""

    def __init__(self, op: Op[bool], store: EngineHarness) -> None:
        self._op = op
        self._storage = store.storage
        self._reply: object = None
        self._error: OSError | None = None

    def go_on(self, requests: int) -> bool:
        """Perform so many requests; False if it ended before."""
        for _ in range(requests):
            try:
                request = self._op.throw(self._error) if self._error else self._op.send(self._reply)
            except StopIteration:
                return False
            self._reply = self._error = None
            try:
                self._reply = self._storage.perform(request)
            except OSError as error:
                self._error = error
        return True


SMALL = {
    "memtable_bytes": 3_000,
    "table_bytes": 1_000,
    "block_bytes": 500,
    "block_cache_bytes": 0,
    "hot_cache_bytes": 0,
    "open_tables_max": 2,
}


def fill(db: BlockingFerroKV, mark: str) -> None:
    for i in range(200):
        db.set(f"key:{i:03d}", mark + "v" * 50)


@pytest.mark.parametrize("read_only", [False, True])
def test_snapshots_and_scans_outlive_the_compactions_of_another_process(store_path: Path, read_only: bool) -> None:
    """A handle that only reads cannot pin, and holds the files open."""
    with Peer(store_path, **SMALL) as peer:
        peer.call("fill", 200)
        peer.call("compact")
        with BlockingFerroKV.open(store_path, read_only=read_only, **SMALL) as db:
            expected = [[key.decode(), value.decode()] for key, value in db.scan()]
            assert len(expected) == 200
            scan = db.scan()
            begun = [next(scan) for _ in range(3)]
            with db.snapshot() as snapshot:
                old_files = set(store_path.glob("table-*"))
                for key, _ in expected:
                    peer.call("set", key, "new")
                peer.call("compact")
                peer.call("flush")
                new_files = set(store_path.glob("table-*"))
                assert (old_files <= new_files) is not read_only
                assert (peer.call("stats")["waiting_bytes"] > 0) is not read_only
                assert [[key.decode(), value.decode()] for key, value in snapshot.scan()] == expected
                assert snapshot.get(expected[7][0]) == expected[7][1].encode()
                rest = [*begun, *scan]
                assert [[key.decode(), value.decode()] for key, value in rest] == expected
            assert db.get(expected[7][0]) == b"new"
        peer.call("set", "one", "more")
        peer.call("flush")
        assert peer.call("stats")["waiting_tables"] == 0
        assert not old_files & set(store_path.glob("table-*"))


def test_a_snapshot_that_is_open_at_closing_keeps_no_files(store_path: Path) -> None:
    with BlockingFerroKV.open(store_path, **SMALL) as db:
        fill(db, "1")
        db.compact()
        snapshot = db.snapshot()
        fill(db, "2")
        db.compact()
        assert db.stats().waiting_tables > 0
        tables = sum(level.tables for level in db.stats().levels)
        assert len(list(store_path.glob("table-*"))) > tables
    assert len(list(store_path.glob("table-*"))) == tables
    snapshot.close()
