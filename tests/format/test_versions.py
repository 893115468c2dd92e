"""Formats can evolve: each kind of file has its own version, and tables of several versions live in one store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import pytest

from ferrokv import UnsupportedFormat
from ferrokv.local.format import logs, table_formats, versions
from ferrokv.local.format.table_formats import TABLE_FORMATS, V1, TableFormat, newest_format
from ferrokv.local.format.versions import FileVersions
from ferrokv.local.storage.drivers import complete
from ferrokv.local.upkeep.verify import verify
from ferrokv.testing import SimulatedStorage

from ..support.harness import TINY, EngineHarness, ManualClock

OPTIONS = TINY._replace(level0_tables=3, memtable_bytes=50_000, table_bytes=3_000, level1_bytes=1 << 20)


def turned(data: bytes) -> bytes:
    return bytes(255 - byte for byte in data)


# Every part looks different on disk, and a block holds fewer records.
MADE_UP = TableFormat(
    version=2,
    block_records_max=3,
    encode_block=lambda keys, entries, hashes, seed: turned(V1.encode_block(keys, entries, hashes, seed)),
    verify_block=lambda data, seed: V1.verify_block(turned(data), seed),
    find_in_block=lambda data, key, tag: V1.find_in_block(turned(data), key, tag),
    decode_block=lambda data: V1.decode_block(turned(data)),
    block_fits=lambda data, hashes: V1.block_fits(turned(data), hashes),
    encode_filter=lambda words, seed: turned(V1.encode_filter(words, seed)),
    decode_filter=lambda data, seed: V1.decode_filter(turned(data), seed),
    encode_index=lambda index, seed: turned(V1.encode_index(index, seed)),
    decode_index=lambda data, seed: V1.decode_index(turned(data), seed),
    decode_block_index=lambda data, seed, **given: V1.decode_block_index(turned(data), seed, **given),
    summarise=lambda index, data: None,
)


@contextmanager
def known(*formats: TableFormat) -> Iterator[None]:
    """The library knows these versions of tables, and no others."""
    before = dict(TABLE_FORMATS)
    TABLE_FORMATS.clear()
    TABLE_FORMATS.update({one.version: one for one in formats})
    try:
        yield
    finally:
        TABLE_FORMATS.clear()
        TABLE_FORMATS.update(before)


def fill(store: EngineHarness, seed: int) -> dict[bytes, bytes]:
    random = Random(seed)
    written = {b"%04d" % random.randrange(400): b"%d:" % seed + random.randbytes(30).hex().encode() for _ in range(120)}
    for key, value in written.items():
        store.set(key, value)
    store.rotate()
    store.flush()
    return written


def versions_of(store: EngineHarness) -> set[int]:
    """The versions that the tables' own footers say."""
    names = store.storage.machine.names
    tables = store.engine.view.version.tables()
    return {int.from_bytes(names[table.name].content[-64:][16:18], "little") for table in tables}


def check(store: EngineHarness, model: dict[bytes, bytes]) -> None:
    assert {key: store.get(key) for key in model} == model
    assert store.get(b"missing") is None
    assert dict(store.scan()) == model
    problems = complete(verify(store.engine), store.storage)[-1]
    assert not problems
    store.check()


def test_tables_of_two_versions_are_read_merged_and_checked_side_by_side() -> None:
    store = EngineHarness(SimulatedStorage(1), ManualClock(), OPTIONS)
    model = fill(store, 1)
    store.compact(everything=True)
    model.update(fill(store, 2))
    assert versions_of(store) == {1}
    with known(V1, MADE_UP):
        assert newest_format() is MADE_UP
        store = store.reopen()
        check(store, model)
        model.update(fill(store, 3))
        assert versions_of(store) == {1, 2}
        check(store, model)
        store = store.reopen()
        check(store, model)
        store.compact(everything=True)
        assert versions_of(store) == {2}, "a merge writes the newest version"
        check(store.reopen(), model)


def test_a_version_that_is_not_known_is_refused_by_name_and_nothing_is_lost() -> None:
    store = EngineHarness(SimulatedStorage(1), ManualClock(), OPTIONS)
    with known(V1, MADE_UP):
        model = fill(store, 1)
        assert versions_of(store) == {2}
    with pytest.raises(UnsupportedFormat, match=r"table of another format version: found=2 this_version=1 reads=1$"):
        store.reopen().get(next(iter(model)))
    with known(V1, MADE_UP):
        check(store.reopen(), model)


@pytest.mark.parametrize("kind", ["WAL", "MANIFEST"])
def test_logs_of_an_older_version_are_read_as_long_as_the_library_says_so(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    magic = getattr(logs, f"{kind}_MAGIC")
    header = logs.encode_header(magic, b"s" * 16, 3, 7, logs.START)
    later = FileVersions(kind, 2, frozenset({1, 2}))
    monkeypatch.setitem(logs._VERSIONS, magic, later)
    assert logs.decode_header(header, magic, b"s" * 16, 3).salt == 7
    newer = logs.encode_header(magic, b"s" * 16, 3, 7, logs.START)
    assert newer[8:10] == b"\2\0"
    assert logs.decode_header(newer, magic, b"s" * 16, 3).salt == 7
    monkeypatch.setitem(logs._VERSIONS, magic, later._replace(read=frozenset({2})))
    with pytest.raises(UnsupportedFormat, match=rf"{kind} of another format version: found=1 this_version=2 reads=2"):
        logs.decode_header(header, magic, b"s" * 16, 3)


def test_each_kind_of_file_reads_what_it_writes() -> None:
    kinds: list[Any] = [versions.STORE, versions.WAL, versions.MANIFEST]
    assert all(kind.written in kind.read for kind in kinds)
    assert table_formats.newest_format().version == max(TABLE_FORMATS)
