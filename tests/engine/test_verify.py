"""Verification: damage is found wherever it is, all of it, and what is sound is found sound whatever others do meanwhile."""

from __future__ import annotations

import asyncio
import errno
import threading
from array import array
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest

from ferrokv import (
    BlockingFerroKV,
    CorruptionError,
    DataError,
    FerroKV,
    StoreBusy,
    StoreClosed,
    VerifyReport,
)
from ferrokv.local.compaction.builder import TableBuilder
from ferrokv.local.engine.spares import ALL_SPARES
from ferrokv.local.format.checksums import checksum, table_seed
from ferrokv.local.format.control import COMMIT, unpack_position
from ferrokv.local.format.edits import TableMeta
from ferrokv.local.format.filters import encode_filter, word_count
from ferrokv.local.format.limits import NEVER
from ferrokv.local.format.tables import FOOTER_BYTES, decode_footer
from ferrokv.local.runtime.long_tasks import ERRANDS_MAX
from ferrokv.local.storage.drivers import complete
from ferrokv.local.storage.requests import File, ListDirectory, Open, ReadAt, Request
from ferrokv.local.upkeep.findings import Findings
from ferrokv.local.upkeep.meter import TELL_BYTES, Meter
from ferrokv.local.upkeep.verify import _check_levels, verify
from ferrokv.local.upkeep.verify_table import TableCheck
from ferrokv.testing.simulated import SimulatedStorage

from ..support.harness import SCALE, EngineHarness, ManualClock
from ..support.peer import Peer
from .test_damage import build

STORE_ID = bytes(16)


def report_on(store: EngineHarness, progress: Callable[[int, int], None] | None = None) -> VerifyReport:
    return VerifyReport(*complete(verify(store.engine, progress), store.storage))


def fill(db: BlockingFerroKV) -> None:
    """Tables on two levels, a WAL, and all sorts of records."""
    for i in range(300):
        db.set(f"key:{i:03}", "v" * 100, px=None if i % 3 else 10_000_000)
    db.compact()
    db.rpush("list", *range(50))
    db.hset("hash", mapping={"a": 1, "b": 2})
    db.delete("key:007")
    db.flush()
    db.set("last", 1)


def damage(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("seed", range(3))
def test_a_sound_store_has_no_problem(seed: int) -> None:
    store, _ = build(seed)
    report = report_on(store)
    assert report.ok, report.problems
    names = store.storage.perform(ListDirectory())
    names = {name: size for name, size in names.items() if name not in ALL_SPARES}
    assert report.files == len(names)
    assert report.records > 20
    end = unpack_position(store.engine.words[COMMIT])[1]
    newest = max(name for name in names if name.startswith("wal"))
    manifest = store.engine.compactor.manifest  # whose file has room for edits, which is not read
    room = names[manifest.file.name] - manifest.position.end
    assert report.bytes == sum(names.values()) - names[newest] + end - room
    store.check()


@pytest.mark.parametrize("seed", range(2 * SCALE))
def test_every_flipped_bit_is_found_in_its_file(seed: int) -> None:
    store, _ = build(seed)
    random = Random(seed)
    end = unpack_position(store.engine.words[COMMIT])[1]
    newest = max(name for name in store.storage.machine.names if name.startswith("wal"))
    for name, inode in store.storage.machine.names.items():
        if name in ALL_SPARES:
            continue  # nothing is ever read from those
        size = end if name == newest else len(inode.content)
        passed = []
        for offset in sorted(random.sample(range(size), min(size, 200))):
            whole = inode.content[offset]
            inode.content[offset] ^= 1 << random.randrange(8)
            report = report_on(store)
            inode.content[offset] = whole
            if report.ok:
                passed.append(offset)
                continue
            assert report.problems[0].path == name, (name, offset, report.problems)
            assert all(problem.path for problem in report.problems)
        # Frames are filled up to a multiple of eight bytes with zeros that nobody reads.
        assert not passed or "log" in name, passed
        assert all(not inode.content[offset] for offset in passed)
    assert report_on(store).ok


def test_every_damaged_block_of_every_table_is_told_with_its_offset(store_path: Path) -> None:
    with BlockingFerroKV.open(store_path) as db:
        fill(db)
        tables = sorted(store_path.glob("table-*"))
        assert len(tables) == 2
        expected = set()
        for table in tables:
            for offset in range(50, table.stat().st_size // 2, 9_000):
                damage(table, offset)
                expected.add(table.name)
        report = db.verify()
        assert {problem.path for problem in report.problems} == expected
        assert len(report.problems) > 3
        assert all(problem.offset is not None for problem in report.problems)
        assert not report.ok
        assert report.records > 100, "damage ended it"
        assert db.get("last") == b"1"


def test_damage_of_filter_index_and_footer_is_told_apart_and_blocks_are_checked_all_the_same(store_path: Path) -> None:
    with BlockingFerroKV.open(store_path) as db:
        db.mset({f"key:{i:04}": "v" * 100 for i in range(500)})
        db.flush()
        table = next(store_path.glob("table-*"))
        data = table.read_bytes()
        footer_offset = len(data) - FOOTER_BYTES
        seed = table_seed(db._store.engine.store_id, 1)
        stored = decode_footer(data[footer_offset:], 1, footer_offset, seed + footer_offset)
        damage(table, 100)
        damage(table, stored.filter_offset + 30)
        report = db.verify()
        assert [(p.offset, p.path) for p in report.problems] == [(stored.filter_offset, table.name), (0, table.name)]
        assert "filter checksum" in str(report.problems[0])
        damage(table, stored.index_offset + 30)
        damage(table, footer_offset + 30)
        assert [p.offset for p in db.verify().problems] == [footer_offset]


def test_a_missing_file_is_told_while_the_store_has_it_open(store_path: Path) -> None:
    with BlockingFerroKV.open(store_path) as db:
        fill(db)
        tables = sorted(store_path.glob("table-*"))
        tables[0].unlink()
        report = db.verify()
        assert [problem.path for problem in report.problems] == [tables[0].name]
        assert "missing" in str(report.problems[0])
        assert report.files == 3 + len(tables) - 1, "all the others are checked"
        max(store_path.glob("wal-*")).unlink()
        (store_path / "CURRENT").unlink()
        paths = {problem.path for problem in db.verify().problems}
        assert {"CURRENT", tables[0].name} <= paths
        assert any(str(path).startswith("wal-") for path in paths)


@pytest.mark.parametrize("change", [-1, -100, 1])
def test_a_table_of_another_length_is_told(store_path: Path, change: int) -> None:
    with BlockingFerroKV.open(store_path) as db:
        fill(db)
        table = min(store_path.glob("table-*"))
        data = table.read_bytes()
        table.write_bytes(data[:change] if change < 0 else data + b"\0")
        assert {problem.path for problem in db.verify().problems} == {table.name}


def test_a_table_that_was_replaced_behind_an_open_descriptor_is_told(store_path: Path) -> None:
    """The next opening would find what stands there now, and not what this process still holds."""
    with BlockingFerroKV.open(store_path) as db:
        fill(db)
        first, second = sorted(store_path.glob("table-*"))
        data = second.read_bytes()
        first.unlink()
        first.write_bytes(data)
        assert {problem.path for problem in db.verify().problems} == {first.name}


def test_a_wal_is_checked_up_to_its_durable_end_and_no_further(store_path: Path) -> None:
    with BlockingFerroKV.open(store_path) as db:
        for i in range(10):
            db.set(f"key:{i}", "v" * 100)
        wal = max(store_path.glob("wal-*"))
        end = db.stats().wal_bytes
        assert db.verify().ok
        with wal.open("r+b") as file:
            file.seek(end)
            file.write(b"the beginning of a frame that nobody acknowledged")
        assert db.verify().ok
        offset = wal.read_bytes().index(b"key:4")
        damage(wal, offset)
        report = db.verify()
        (problem,) = report.problems
        assert problem.path == wal.name
        assert problem.offset is not None
        assert problem.offset < offset


def test_a_damaged_or_cut_end_of_the_manifest_is_told(store_path: Path) -> None:
    """To a newcomer it is a torn tail; those who have the store open know that nothing was being written."""
    for cut in (False, True):
        with BlockingFerroKV.open(store_path) as db:
            db.set("a", 1)
            manifest = max(store_path.glob("manifest-*"))
            before = len(manifest.read_bytes().rstrip(b"\0"))
            before += -before % 8
            db.flush()
            whole = manifest.read_bytes()
            assert any(whole[before:])
            if cut:
                manifest.write_bytes(whole[:before])
            else:
                damage(manifest, before + 60)
            assert manifest.name in {problem.path for problem in db.verify().problems}
            manifest.write_bytes(whole)
            assert db.verify().ok


def test_tables_of_a_level_that_overlap_are_told() -> None:
    store, _ = build(1)
    meta = store.engine.view.version.tables()[0].meta
    manifest = store.engine.compactor.manifest
    for level, expected in ((0, 0), (3, 1)):
        metas = {number: meta._replace(number=number, level=level) for number in (1, 2)}
        manifest.tables = manifest.tables._replace(metas=metas)
        findings = Findings()
        _check_levels(manifest, findings)
        assert len(findings.problems) == expected
        assert all(f"tables of level {level} overlap: tables=1,2" in str(problem) for problem in findings.problems)


class OneTable:
    """A table by itself, to be falsified in ways that its checksums do not show."""

    def __init__(self) -> None:
        self.storage = SimulatedStorage(1)
        builder = TableBuilder(1, 1, STORE_ID, 200, (1, 9))
        keys = [b"\0\0\0\1kkey:%03d" % i for i in range(200)]
        entries = [(None if i % 7 == 3 else b"v" * (i % 40), 0 if i % 5 else 10**12 + i, 0, None) for i in range(200)]
        complete(builder.add(keys, entries), self.storage)  # type: ignore[arg-type]
        self.meta, file = complete(builder.finish(), self.storage)
        self.data = file.inode.content  # type: ignore[attr-defined]
        self.seed = table_seed(STORE_ID, 1)
        end = len(self.data) - FOOTER_BYTES
        self.footer = decode_footer(bytes(self.data[end:]), 1, end, self.seed + end)

    def problems(self, meta: TableMeta | None = None) -> list[str]:
        file: File = self.storage.perform(Open("table-00000001.sst"))
        check = TableCheck(meta or self.meta, file, STORE_ID, Meter(0, None))
        return [str(problem) for problem in complete(check.run(), self.storage).problems]

    def seal(self, start: int, end: int) -> None:
        """Make the checksum of a part right again."""
        stored = checksum(bytes(self.data[start + 8 : end]), self.seed + start)
        self.data[start : start + 8] = stored.to_bytes(8, "little")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"records": 201}, "records not as"),
        ({"tombstones": 0}, "tombstones not as"),
        ({"min_expiry_ms": 5}, "lowest expiry not as"),
        ({"max_expiry_ms": 5}, "highest expiry not as"),
        ({"min_key": b"\0\0\0\1k"}, "smallest key not as"),
        ({"max_key": b"\0\0\0\1l"}, "largest key not as"),
        ({"file_checksum": 1}, "file checksum"),
    ],
)
def test_what_the_manifest_says_of_a_table_is_held_against_it(changes: dict[str, Any], said: str) -> None:
    table = OneTable()
    assert table.problems() == []
    assert table.meta.max_expiry_ms == NEVER
    problems = table.problems(table.meta._replace(**changes))
    assert any(said in problem for problem in problems), problems


def test_a_filter_that_lacks_keys_is_told_although_its_checksum_is_right() -> None:
    """A look-up would take such a key for absent: the one damage that no reader notices."""
    table = OneTable()
    start = table.footer.filter_offset
    part = encode_filter(array("Q", bytes(8 * word_count(200))), table.seed + start)
    table.data[start : start + len(part)] = part
    problems = table.problems()
    assert len(problems) > 10
    assert all("filter does not hold a key" in problem and "offset=" in problem for problem in problems)


def test_wrong_tags_are_told_although_the_checksum_is_right() -> None:
    table = OneTable()
    length = int.from_bytes(table.data[8:12], "little")
    table.data[20] ^= 1
    table.seal(0, length)
    (problem,) = table.problems()
    assert "tags of a block" in problem
    assert "offset=0" in problem


def test_keys_out_of_order_are_told_although_the_checksum_is_right() -> None:
    table = OneTable()
    length = int.from_bytes(table.data[8:12], "little")
    place = table.data.index(b"01234567", 20, length)  # the keys, without the prefix that they share
    table.data[place : place + 2] = b"10"
    table.seal(0, length)
    (problem,) = table.problems()
    assert "keys of a block are not ascending" in problem


@pytest.mark.parametrize("seed", range(10 * SCALE))
def test_a_store_that_others_change_meanwhile_is_found_sound(seed: int) -> None:
    """Between any two requests of the verification another process may write, flush, compact and rotate."""
    disk = SimulatedStorage(seed)
    clock = ManualClock()
    store = EngineHarness(disk, clock)
    other = EngineHarness(SimulatedStorage(2, shares=disk), clock)
    random = Random(seed)

    def go_on() -> None:
        choice = random.randrange(12)
        if choice < 6:
            other.set(b"key:%02d" % random.randrange(30), random.randbytes(random.randrange(80)))
        elif choice < 8:
            other.rotate()
        elif choice < 10:
            other.flush()
        else:
            other.compact(everything=choice == 10)

    for _ in range(60):
        go_on()

    def sometimes(pace: int, index: int, request: Request) -> None:
        if not random.randrange(pace):
            go_on()

    refused = 0
    for pace in (2, 3, 5, 9, 20) * 3:
        disk.observe = partial(sometimes, pace)
        try:
            report = report_on(store)
        except StoreBusy:
            refused += 1  # the other one changed the tables at every try
        else:
            assert report.ok, (seed, report.problems)
        disk.observe = None
    assert refused < 5
    assert other.storage.requests > 1_000


def test_it_is_sound_beside_a_process_that_writes_and_flushes(store_path: Path) -> None:
    with BlockingFerroKV.open(store_path, memtable_bytes=20_000) as db, Peer(store_path, memtable_bytes=20_000) as peer:
        for i in range(4):
            db.set("k", i)
            peer.send("fill", 300)
            reports = [db.verify() for _ in range(3)]
            assert peer.receive() == 300
            assert peer.call("flush") is True
            assert [report.problems for report in reports] == [(), (), ()]
        with BlockingFerroKV.open(store_path, read_only=True) as reader:
            assert reader.verify().ok


def test_a_reader_verifies_a_store_that_nobody_has_open_and_changes_nothing(store_path: Path) -> None:
    with BlockingFerroKV.open(store_path) as db:
        fill(db)
        expected = db.verify()
    for without_page in (False, True):
        if without_page:
            (store_path / "control").unlink()
        before = {path.name: path.read_bytes() for path in store_path.iterdir()}
        with BlockingFerroKV.open(store_path, read_only=True) as reader:
            report = reader.verify()
            assert report == expected
            damage(min(store_path.glob("table-*")), 100)
            assert not reader.verify().ok
            damage(min(store_path.glob("table-*")), 100)
        assert {path.name: path.read_bytes() for path in store_path.iterdir()} == before


def test_progress_grows_to_the_total_in_the_calling_thread(store_path: Path) -> None:
    with BlockingFerroKV.open(store_path) as db:
        for i in range(40):
            db.set(f"key:{i}", "v" * 100_000)
        db.flush()
        calls: list[tuple[int, int, threading.Thread]] = []
        report = db.verify(lambda done, total: calls.append((done, total, threading.current_thread())))
        done = [call[0] for call in calls]
        assert done == sorted(done)
        assert 3 <= len(done) <= report.bytes // TELL_BYTES + 1
        assert {call[1:] for call in calls} == {(report.bytes, threading.current_thread())}
        assert done[-1] == report.bytes


async def test_asyncio_is_told_in_the_loop_which_goes_on_meanwhile(
    store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FerroKV.open(store_path) as db:
        await db.mset({f"key:{i}": "v" * 100 for i in range(500)})
        await db.flush()
        reading, release = threading.Event(), threading.Event()
        perform = db._store.storage._actions[ReadAt]

        def slow(request: ReadAt) -> bytes:
            reading.set()
            assert release.wait(10)
            return perform(request)

        monkeypatch.setitem(db._store.storage._actions, ReadAt, slow)
        threads: set[threading.Thread] = set()
        verifying = asyncio.create_task(db.verify(lambda *_: threads.add(threading.current_thread())))
        while not reading.is_set():
            await asyncio.sleep(0)
        await db.set("k", 1)
        assert await db.get("k") == b"1"
        release.set()
        report = await verifying
        assert report.ok
        assert threads == {threading.current_thread()}


class StopError(BrokenPipeError):
    """What a progress function of the tests raises: as print does when nobody reads any more."""


async def test_what_progress_raises_ends_it_on_both_faces(store_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise StopError

    with BlockingFerroKV.open(store_path) as db:
        with pytest.raises(StopError):
            db.verify(stop)
        with pytest.raises(DataError, match="progress"):
            db.verify("often")  # type: ignore[arg-type]
        assert db.verify().ok
    async with FerroKV.open(store_path) as same:
        with pytest.raises(StopError):
            await same.verify(stop)
        with pytest.raises(DataError, match="progress"):
            await same.verify("often")  # type: ignore[arg-type]
        assert (await same.verify()).ok


async def test_cancelling_ends_it(store_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with FerroKV.open(store_path) as db:
        await db.mset({f"key:{i}": "v" * 100 for i in range(500)})
        await db.flush()
        verifying = asyncio.create_task(db.verify())
        await asyncio.sleep(0)
        verifying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await verifying
        assert not db._store.long_tasks._running
        assert (await db.verify()).ok


def test_closing_the_store_meanwhile_ends_it_by_name(store_path: Path) -> None:
    db = BlockingFerroKV.open(store_path)
    fill(db)
    db.set("large", "v" * (2 << 20))
    with pytest.raises(StoreClosed):
        db.verify(lambda done, total: db.close())
    with pytest.raises(StoreClosed):
        db.verify()
    with BlockingFerroKV.open(store_path) as again:
        assert again.verify().ok


def test_only_so_many_are_under_way_at_once(store_path: Path) -> None:
    with BlockingFerroKV.open(store_path) as db:
        depth = []

        def deeper(done: int, total: int) -> None:
            depth.append(done)
            db.verify(deeper)

        with pytest.raises(StoreBusy, match=f"limit={ERRANDS_MAX}"):
            db.verify(deeper)
        assert len(depth) == ERRANDS_MAX
        assert db.verify().ok


def test_a_sector_that_can_not_be_read_is_a_problem_and_no_end(
    store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with BlockingFerroKV.open(store_path) as db:
        fill(db)
        actions = db._store.storage._actions
        perform = actions[ReadAt]
        table = min(store_path.glob("table-*")).name

        def fail(request: ReadAt) -> bytes:
            if request.file.name == table and request.offset == 0:
                raise OSError(errno.EIO, "Input/output error")
            return perform(request)

        with monkeypatch.context() as patch:
            patch.setitem(actions, ReadAt, fail)
            (problem,) = db.verify().problems
        assert isinstance(problem, CorruptionError)
        assert (problem.path, problem.offset) == (table, 0)

        def no_descriptor(request: Open) -> File:
            raise OSError(errno.EMFILE, "Too many open files")

        with monkeypatch.context() as patch:
            patch.setitem(actions, Open, no_descriptor)
            with pytest.raises(StoreBusy, match="descriptor"):
                db.verify()
