"""Load without bound: how level 0 is kept small, merges go on in parts, damage is gone around, and writers are braked."""

from __future__ import annotations

import errno
import fcntl
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest

from ferrokv import BlockingFerroKV, CorruptionError, DataError, Options, StoreBusy
from ferrokv.local.compaction import compaction
from ferrokv.local.compaction.compaction import compact_once
from ferrokv.local.compaction.picker import MERGED_FACTOR, Drop, Merging, Move, PickerContext, pick
from ferrokv.local.compaction.score import score
from ferrokv.local.compaction.survivors import Survivors
from ferrokv.local.engine.engine import Engine
from ferrokv.local.format import control
from ferrokv.local.format.edits import NO_MERGE
from ferrokv.local.runtime.brake import DELAY_SECONDS_MAX, FIRST_BYTES_PER_SECOND, Brake
from ferrokv.local.storage.drivers import complete
from ferrokv.local.storage.requests import ReadAt, Request, WriteAt
from ferrokv.local.tree.version import LEVELS
from ferrokv.testing.simulated import SimulatedStorage

from ..support.harness import TINY, EngineHarness, ManualClock
from ..support.peer import Peer, PeerError

WIDE = TINY._replace(memtable_bytes=100_000, table_bytes=2_000, level0_tables=2, level1_bytes=1 << 30)


@pytest.fixture
def store() -> EngineHarness:
    return EngineHarness(SimulatedStorage(1), ManualClock(), WIDE)


def fill(store: EngineHarness, tables: int, *, seed: int = 0, records: int = 40, keys: int = 300) -> dict[bytes, bytes]:
    """So many tables of level 0 with random keys, and what they say."""
    random = Random(seed)
    model: dict[bytes, bytes] = {}
    for number in range(tables):
        for _ in range(records):
            key, value = (
                b"%04d" % random.randrange(keys),
                b"%d:%d" % (seed, number) + random.randbytes(40).hex().encode(),
            )
            store.set(key, value)
            model[key] = value
        store.rotate()
        store.flush()
    return model


def level_sizes(store: EngineHarness) -> list[int]:
    return [len(level) for level in store.engine.view.version.levels]


def stop_at_pause(store: EngineHarness, pauses: int) -> bool:
    """Compact, and give up at a pause as a process does that closes. False if it was done before."""

    class Stopping(BaseException):
        pass

    left = pauses

    def pause() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Stopping

    try:
        with store.compacting():
            while complete(compact_once(store.engine), store.storage, pause):
                pass
    except Stopping:
        return True
    return False


def test_a_merge_takes_a_bounded_number_of_the_oldest_tables(store: EngineHarness) -> None:
    model = fill(store, 20)
    view = store.engine.view
    chosen = pick(view.version, WIDE, Survivors(store.clock(), view.catalogue), PickerContext())
    assert isinstance(chosen, Merging)
    assert [t.number for t in chosen.upper] == [t.number for t in view.version.levels[0]][-MERGED_FACTOR * 2 :]
    store.compact()
    assert level_sizes(store)[0] < 2
    assert dict(store.scan()) == model
    store.check()


def test_each_part_of_a_merge_is_installed_and_the_next_process_goes_on(store: EngineHarness) -> None:
    """Processes that are recycled in the middle of each merge pay the debt off all the same."""
    model = fill(store, 6, records=200, keys=2_000)
    store.compact()
    model.update(fill(store, 6, seed=1, records=200, keys=2_000))
    written = 0

    def note(index: int, request: Request) -> None:
        nonlocal written
        written += isinstance(request, WriteAt) and request.file.name.startswith("table")

    rounds = 0
    behind = b""
    while True:
        store.storage.observe = note
        stopped = stop_at_pause(store, 12)
        store.storage.observe = None
        assert dict(store.scan()) == model
        if not stopped:
            break
        rounds += 1
        store = store.reopen()
        progress = store.engine.compactor.manifest.tables.merge
        assert progress.done >= behind or not progress.upper
        behind = progress.done
        assert dict(store.scan()) == model
        assert rounds < 100, "each process comes a part further"
    assert rounds > 2, "the merge is longer than what one process does of it"
    assert level_sizes(store)[0] == 0
    assert store.engine.compactor.manifest.tables.merge == NO_MERGE
    assert written < 2 * len(store.engine.view.version.levels[1]) + rounds, "little is done again"
    store.check()


def test_what_is_written_while_a_merge_is_under_way_stays_newer(store: EngineHarness) -> None:
    model = fill(store, 6)
    store.compact()
    for seed in range(2, 8):
        model.update(fill(store, 6, seed=seed))
        stop_at_pause(store, 3 + seed)
        for key in list(model)[::7]:
            store.delete(key)
            del model[key]
        model.update(fill(store, 1, seed=seed + 100))
        assert dict(store.scan()) == model
        store.compact()
        assert dict(store.scan()) == model
        store.check()
    assert dict(store.reopen().scan()) == model


def test_a_merge_needs_little_more_room_than_its_upper_tables(store: EngineHarness) -> None:
    fill(store, 30)
    store.compact(everything=True)
    fill(store, 6, seed=1)
    upper = store.engine.view.version.level_bytes(0)
    size = table_bytes(store)
    largest = size

    def look(index: int, request: Request) -> None:
        nonlocal largest
        largest = max(largest, table_bytes(store))

    store.storage.observe = look
    store.compact()
    store.storage.observe = None
    # Beside the upper tables, which go last: the outputs and inputs of one part.
    assert largest - size <= upper + 4 * WIDE.table_bytes
    assert largest < 2 * size


def table_bytes(store: EngineHarness) -> int:
    names = store.storage.machine.names
    return sum(len(inode.content) for name, inode in names.items() if name.startswith("table"))


def unreadable(storage: SimulatedStorage, name: str) -> None:
    """From now on the disk cannot read the first block of a file."""

    def fail(index: int, request: Request) -> None:
        if isinstance(request, ReadAt) and request.file.name == name and not request.offset:
            raise OSError(errno.EIO, "Input/output error")

    storage.observe = fail


def damage(store: EngineHarness, name: str) -> None:
    """Flip a bit in each block of a table."""
    content = store.storage.machine.names[name].content
    for i in range(0, len(content) - 300, 80):
        content[i] ^= 1


@pytest.mark.parametrize("harm", ["unreadable", "flipped"])
@pytest.mark.parametrize("level", [0, 1])
def test_a_table_that_cannot_be_read_is_set_aside_and_the_rest_goes_on(
    store: EngineHarness, level: int, harm: str
) -> None:
    fill(store, 6)
    store.compact()
    fill(store, 2, seed=1)
    tables = store.engine.view.version.levels[level]
    name = tables[len(tables) // 2].name
    store = store.reopen()
    if harm == "unreadable":
        unreadable(store.storage, name)
    else:
        damage(store, name)
    for seed in range(2, 40):
        newest = fill(store, 2, seed=seed)
        store.compact()
        assert store.engine.failure is None
        assert level_sizes(store)[0] < 12, "level 0 stays small although nothing can go down"
        assert all(store.get(key) == value for key, value in newest.items())
    assert store.engine.words[control.DAMAGED] == 1
    store.compact(everything=True)
    store.set(b"k", b"v")
    assert store.get(b"k") == b"v"
    assert name in store.storage.machine.names


def test_a_damaged_table_in_the_middle_of_level_0_never_lets_older_records_win(store: EngineHarness) -> None:
    first = fill(store, 1)
    old = store.engine.view.version.levels[0][0]
    model = {**first, **fill(store, 12, seed=1)}
    store.engine.compactor.damaged[old.number] = CorruptionError("as if")
    store.compact()
    assert [table.number for table in store.engine.view.version.levels[0]][-1] == old.number
    assert all(store.get(key) == value for key, value in model.items())
    gone = list(first)[::2]
    store.delete(*gone)
    for key in gone:
        del model[key]
    model.update(fill(store, 2, seed=2))
    store.compact()
    gone = [key for key in gone if key not in model]
    assert len(gone) > 10
    assert not any(store.get(key) for key in gone)
    assert all(store.get(key) == value for key, value in model.items())
    store.check()


def test_a_table_that_is_flushed_while_a_merge_within_level_0_is_weighed_stays_newer(
    store: EngineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a merge takes the newest tables, and its output a higher number: what came meanwhile would count as older."""
    fill(store, 4)
    tables = store.engine.view.version.levels[0]
    newest: dict[bytes, bytes] = {}

    def weighed(engine: Engine, choice: Merging, *rest: object) -> Iterator[Any]:
        newest.update(fill(store, 1, seed=9))
        yield from ()
        return choice, False

    monkeypatch.setattr(compaction, "merge_that_fits", weighed)
    survivors = Survivors(store.clock(), store.engine.view.catalogue)
    with store.compacting():
        complete(compaction.run_merge(store.engine, Merging(0, tuple(tables[:3]), (), 0), survivors), store.storage)
    assert len(newest) > 20
    assert all(store.get(key) == value for key, value in newest.items())
    assert all(store.reopen().get(key) == value for key, value in newest.items())


def test_a_bad_disk_while_compacting_poisons_nobody(store_path: Path) -> None:
    options = {"memtable_bytes": 20_000, "table_bytes": 10_000, "level0_tables": 2}
    with BlockingFerroKV.open(store_path, **options) as db, Peer(store_path, **options) as peer:
        db.mset({f"a:{i:03}": "v" * 100 for i in range(100)})
        db.flush()
        table = next(store_path.glob("table-*"))
        data = bytearray(table.read_bytes())
        for i in range(5_000, len(data) - 2_000, 500):
            data[i] ^= 255
        table.write_bytes(data)
        db.mset({f"b:{i:03}": "v" * 100 for i in range(100)})
        with pytest.raises(CorruptionError, match=table.name):
            db.compact()
        assert db.stats().damaged_tables == 1
        assert db.stats().failed is None
        peer.call("set", "k", 1)
        assert db.get("k") == b"1"
        assert db.get("b:001") == b"v" * 100
        assert not db.verify().ok


class Hands:
    """A steady clock and an engine's number of tables, both set by hand."""

    def __init__(self, level0: int, **given: int) -> None:
        self.now = 100.0
        self.options = Options.checked(given)
        self.level0_tables = level0
        self.compaction_score = 0.0

    def steady(self) -> float:
        return self.now

    def brake(self) -> Brake:
        engine: Any = self
        return Brake(engine, self.steady)


def test_the_brake_is_off_below_its_first_mark() -> None:
    hands = Hands(7)
    brake = hands.brake()
    brake.note_written(1 << 30)
    assert not brake.is_on
    assert brake.delay() == 0


def test_each_table_halves_the_bytes_that_may_be_written() -> None:
    delays = []
    for level0 in range(8, 20):
        hands = Hands(level0)
        brake = hands.brake()
        brake.note_written(FIRST_BYTES_PER_SECOND >> 12)
        assert brake.is_on
        delays.append(brake.delay())
    assert delays[0] == pytest.approx(1 / 4096)
    assert [b / a for a, b in pairwise(delays)] == pytest.approx([2] * 11)


class Shape:
    """A version of which only the sizes of its levels count, in MiB."""

    def __init__(self, *sizes: int) -> None:
        self.levels = tuple(() for _ in range(LEVELS))
        self._sizes = sizes

    def level_bytes(self, level: int) -> int:
        return self._sizes[level] << 20 if level < len(self._sizes) else 0


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ((), 0),
        ((0, 64, 640, 6400), 1),
        ((64, 128), 3),
        # Nothing changes when level 0 goes down into level 1, and little when that goes on where there is room.
        ((0, 192), 3),
        ((0, 64, 128), 1),
        # What is too much for level 1 is too much for level 2 as well.
        ((0, 128, 1280), (1280 + 64) / 640),
        ((0, 64, 640, 12800), 2),
    ],
)
def test_the_score_is_that_of_the_fullest_level_with_what_is_on_its_way_there(
    sizes: tuple[int, ...], expected: float
) -> None:
    version: Any = Shape(*sizes)
    assert score(version, Options()) == pytest.approx(expected)


def test_levels_that_may_hold_next_to_nothing_brake_nobody() -> None:
    version: Any = Shape(1, 8)
    assert score(version, Options(level1_bytes=1)) < 1


def test_each_half_more_of_the_score_halves_the_bytes_that_may_be_written() -> None:
    delays = []
    for halves in range(6, 14):
        hands = Hands(0)
        hands.compaction_score = halves / 2
        brake = hands.brake()
        brake.note_written(FIRST_BYTES_PER_SECOND >> 12)
        delays.append(brake.delay())
    assert delays[0] == pytest.approx(4 / 4096)
    assert [b / a for a, b in pairwise(delays)] == pytest.approx([2] * 7)
    hands = Hands(0)
    hands.compaction_score = 2.99
    brake = hands.brake()
    brake.note_written(1 << 30)
    assert not brake.is_on
    hands.compaction_score = 1e6
    brake.note_written(100)
    assert 0 < brake.delay() < 0.1, "a short write is never held up for long"


def test_the_score_is_told_to_every_process_and_none_that_damage_keeps_high(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ferrokv.local.compaction.score.SMALL_LEVEL_BYTES", 1)
    store = EngineHarness(SimulatedStorage(1), ManualClock(), WIDE._replace(level1_bytes=1_000))
    fill(store, 2)
    words = store.engine.words
    tables = store.engine.view.version.levels[0]
    assert words[control.SCORE] == sum(table.meta.file_bytes for table in tables) > 3_000
    told = words[control.SCORE]
    store.engine.compactor.damaged[tables[0].number] = CorruptionError("as if")
    fill(store, 1, seed=2)
    assert (words[control.SCORE], words[control.DAMAGED]) == (0, 1)
    assert store.reopen().engine.words[control.SCORE] > told


def test_level_0_goes_first_once_it_slows_writes_down(store: EngineHarness) -> None:
    """However much too full the levels below are: reads look at every table of level 0."""
    small = WIDE._replace(level1_bytes=1)
    fill(store, 4)
    store.compact()
    view = store.engine.view
    fill(store, 3, seed=1)
    view = store.engine.view
    chosen = pick(view.version, small, Survivors(store.clock(), view.catalogue), PickerContext())
    assert not isinstance(chosen, Drop)
    assert chosen is not None
    assert chosen.level == 2 if isinstance(chosen, Move) else chosen.level == 1
    fill(store, 1, seed=2)
    view = store.engine.view
    chosen = pick(view.version, small, Survivors(store.clock(), view.catalogue), PickerContext())
    assert isinstance(chosen, Merging)
    assert chosen.level == 0


def test_a_delay_is_paid_once_and_never_longer_than_a_second() -> None:
    hands = Hands(12)
    brake = hands.brake()
    for _ in range(3):
        brake.note_written(1 << 30)
    assert brake.delay() == DELAY_SECONDS_MAX
    hands.now += 1e6
    assert brake.delay() == 0


def test_at_the_second_mark_writers_stop_whatever_they_wrote() -> None:
    hands = Hands(20)
    assert hands.brake().is_stopped
    assert hands.brake().is_on
    hands.level0_tables = 19
    assert not hands.brake().is_stopped


@pytest.mark.parametrize(
    "given", [{"level0_tables": 9, "level0_slowdown": 8}, {"level0_slowdown": 9, "level0_stop": 8}, {"level0_stop": 3}]
)
def test_marks_in_an_order_that_stops_writers_for_ever_are_refused(given: dict[str, int]) -> None:
    with pytest.raises(DataError, match="level 0 limits must satisfy"):
        Options.checked(given)


def write_on(put: Callable[[str, str], object]) -> None:
    """Write until it is refused."""
    for i in range(1_000):
        put(f"key:{i}", "v" * 100)


@pytest.fixture
def no_compaction(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Compactions of stores that are opened from now on wait for the event; flushes do not."""
    go = threading.Event()

    def held(engine: Engine, *, everything: bool = False) -> Iterator[None]:
        if not go.is_set():
            return False
        return (yield from compact_once(engine, everything=everything))

    monkeypatch.setattr("ferrokv.local.runtime.background.compact_once", held)
    yield go
    go.set()


def test_a_stopped_writer_is_told_why_and_goes_on_when_compaction_has_come(
    store_path: Path, no_compaction: threading.Event
) -> None:
    options = {"memtable_bytes": 400, "level0_tables": 1, "level0_slowdown": 2, "level0_stop": 3, "busy_timeout": 0.3}
    with BlockingFerroKV.open(store_path, **options) as db:
        with pytest.raises(StoreBusy, match=r"level0=[345] level0_stop=3 busy_timeout=0\.3"):
            write_on(db.set)
        stats = db.stats()
        assert (stats.level0_slowdown, stats.level0_stop) == (2, 3)
        assert 3 <= stats.levels[0].tables < 6
        assert stats.writes_stopped
        assert stats.stalled_seconds > 0
        assert db.get("key:0") == b"v" * 100
        no_compaction.set()
        db.compact()
        db.set("more", 1)
        assert db.get("more") == b"1"


def test_deletions_on_a_full_disk_do_not_wait_for_compaction(
    store_path: Path, no_compaction: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are what gives the disk back the room that compaction needs."""
    options = {"memtable_bytes": 400, "level0_tables": 1, "level0_slowdown": 2, "level0_stop": 3, "busy_timeout": 0.3}
    with BlockingFerroKV.open(store_path, **options) as db:
        with pytest.raises(StoreBusy):
            write_on(db.set)

        def not_yet(engine: Engine) -> Iterator[None]:
            yield from ()
            return False

        monkeypatch.setattr("ferrokv.local.runtime.background.rebuild", not_yet)
        db._store.engine.words[control.SHORT] = 1
        assert db.delete("key:0") == 1
        assert db.get("key:0") is None
        db._store.engine.words[control.SHORT] = 0
        with pytest.raises(StoreBusy):
            db.delete("key:1")
        no_compaction.set()


def test_writers_of_another_process_are_stopped_as_well(store_path: Path, no_compaction: threading.Event) -> None:
    options = {"memtable_bytes": 400, "level0_tables": 1, "level0_slowdown": 2, "level0_stop": 3, "busy_timeout": 0.3}
    with (
        BlockingFerroKV.open(store_path, **options) as db,
        pytest.raises(StoreBusy, match=r"level0=[345] level0_stop=3"),
    ):
        write_on(db.set)
    with open(store_path / "compact.lock", "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a process that compacts, and does not come to an end
        with Peer(store_path, **options) as peer, pytest.raises(PeerError, match=r"level0=[345] level0_stop=3"):
            write_on(lambda key, value: peer.call("set", key, value))


def test_level_0_stays_below_its_limit_while_writers_are_faster_than_compaction(store_path: Path) -> None:
    """With the marks at their defaults: four tables begin a merge, twenty stop writers, and a flush may add some."""
    highest = 0
    options = {"memtable_bytes": 30_000, "table_bytes": 60_000, "level1_bytes": 100_000, "busy_timeout": 60}
    with BlockingFerroKV.open(store_path, **options) as db:
        for number in range(400):
            db.mset({f"{number * 37 + i * 7919 % 100_003:08}": "v" * 300 for i in range(40)})
            highest = max(highest, db._store.engine.level0_tables)
        db.flush()
        assert max(highest, db._store.engine.level0_tables) < 24
        assert db.stats().rotations > 40
