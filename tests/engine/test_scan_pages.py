"""Scans read no more than they need: bounds within blocks, small first pages, and runs of tables by bisection."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from ferrokv import BlockingFerroKV
from ferrokv.local.tree.merge import PAGE_BYTES, RunSource

Oracle = dict[bytes, bytes]


@pytest.fixture(params=["equal", "any", "large"])
def stored(request: pytest.FixtureRequest, store_path: Path) -> Iterator[tuple[BlockingFerroKV, Oracle]]:
    """Tables in several levels, with tombstones and newer versions among them, and what they hold."""
    draw = Random(request.param)
    oracle: Oracle = {}
    with BlockingFerroKV.open(store_path, memtable_bytes=20_000, level0_tables=3) as db:
        for step in range(1_500 if request.param != "large" else 60):
            key = b"key:%04d" % draw.randrange(800)
            if draw.random() < 0.2:
                db.delete(key)
                oracle.pop(key, None)
            else:
                sizes = {"equal": (50, 51), "any": (0, 200), "large": (0, 2 * PAGE_BYTES)}
                value = b"%d" % step + b"v" * draw.randrange(*sizes[request.param])
                if request.param == "equal":
                    value = value[:50]
                db.set(key, value)
                oracle[key] = value
            if not step % 400:
                db.compact()
        db.rpush("key:0400:list", "no string")
        db.flush()
        assert sum(level.tables for level in db.stats().levels) > 1
        yield db, oracle


def test_scans_of_any_part_give_what_is_there(stored: tuple[BlockingFerroKV, Oracle]) -> None:
    db, oracle = stored
    draw = Random(8)
    ordered = sorted(oracle.items())
    for _ in range(150):
        start, end = (draw.choice([None, b"key:%04d" % draw.randrange(820), b"a", b"z"]) for _ in range(2))
        limit = draw.choice([None, 0, 1, 2, 27, 28, 100, 127, 128, 129, 1000])
        reverse = draw.random() < 0.5
        expected = [pair for pair in ordered if (start or b"") <= pair[0] and (end is None or pair[0] < end)]
        if reverse:
            expected.reverse()
        found = list(db.scan(start, end, limit=limit, reverse=reverse))
        assert found == (expected if limit is None else expected[:limit])


def test_a_scan_with_a_limit_reads_few_blocks(store_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with BlockingFerroKV.open(store_path) as db:
        db.mset({b"key:%05d" % i: b"v" * 120 for i in range(10_000)})
        db.compact()
        reads: list[int] = []
        read_blocks = RunSource._read_blocks

        def counted(source: RunSource, table):  # type: ignore[no-untyped-def]
            before = source.bytes_read
            page = yield from read_blocks(source, table)
            reads.append(source.bytes_read - before)
            return page

        monkeypatch.setattr(RunSource, "_read_blocks", counted)
        for limit, blocks in [(1, 1), (10, 2), (100, 6)]:
            for reverse in (False, True):
                reads.clear()
                assert len(list(db.scan(b"key:02", limit=limit, reverse=reverse))) == limit
                assert sum(reads) <= blocks * 4096
        # What is dead or of another keyspace does not make every page small.
        db.delete_range("key:02", "key:05")
        db.flush()
        reads.clear()
        assert [key for key, _ in db.scan("key:02", limit=1)] == [b"key:05000"]
        assert len(reads) < 2 * 3_000 // 100
