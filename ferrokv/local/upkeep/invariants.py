"""The invariants of an engine at rest, as code. Tests check them at the end."""

from __future__ import annotations

from itertools import pairwise

from ..engine.engine import Engine
from ..format.commits import Entry
from ..names import file_name
from ..storage.requests import ListDirectory, Op
from ..tree.merge import RunSource


def check_invariants(engine: Engine) -> Op[None]:
    """Raise AssertionError if the state is inconsistent, or a table is not as the manifest says.

    Reads every table.
    """
    view = engine.view
    metas = {table.number: table.meta for table in view.version.tables()}
    if (
        engine.compactor.open_manifest is not None
        and engine.compactor.open_manifest.version_word == engine.seen_version
    ):
        assert metas == engine.compactor.open_manifest.tables.metas, "view and manifest name different tables"
    memtables = list(view.memtables)
    assert all(a.number > b.number for a, b in pairwise(memtables)), "memtables are not ordered from new to old"
    assert view.active.number == engine.wal.position.number, "active memtable is not that of the WAL"
    assert engine.wal.position.seqno == view.active.seqno, "memtable and WAL disagree on the newest commit"
    for level, tables in enumerate(view.version.levels):
        for table in tables:
            assert table.meta.level == level, "table stands in a wrong level"
        if level:
            assert all(a.max_key < b.min_key for a, b in pairwise(tables)), f"tables of level {level} overlap"
        else:
            assert all(a.number > b.number for a, b in pairwise(tables)), "level 0 is not ordered from new to old"
    names = yield ListDirectory()
    for number, meta in metas.items():
        assert names.get(file_name("table", number)) == meta.file_bytes, f"size of table {number}"
    for table in view.version.tables():
        run = RunSource([table], use_cache=False)
        records: list[tuple[bytes, Entry]] = []
        while (page := (yield from run.next_page())) is not None:
            records.extend(zip(*page, strict=True))
        keys = [key for key, _ in records]
        assert keys == sorted(set(keys)), "keys of a table are not ascending"
        assert (len(keys), keys[0], keys[-1]) == (table.meta.records, table.min_key, table.max_key)
        assert sum(1 for _, entry in records if entry[0] is None) == table.meta.tombstones
