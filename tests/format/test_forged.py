"""Files that somebody forged, checksums and all: opening, verifying and compacting end in a named error and in no other one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ferrokv import BlockingFerroKV, CorruptionError, UnsupportedFormat
from ferrokv.local.engine.manifest import Tables, create_manifest, rename_current, write_current_aside
from ferrokv.local.format.commits import HEAD, KIND_STRING, encode_commit
from ferrokv.local.format.current import Current
from ferrokv.local.format.edits import Edit, TableMeta, encode_edit
from ferrokv.local.format.keys import CATALOGUE_NAMES, CATALOGUE_NEXT_ID, CATALOGUE_QUOTAS
from ferrokv.local.format.logs import (
    HEADER_BYTES,
    TYPE_COMMIT,
    TYPE_EDIT,
    WAL_MAGIC,
    Position,
    decode_header,
    encode_frame,
    encode_header,
    read_frame,
)
from ferrokv.local.format.roots import HASH, RootFields
from ferrokv.local.storage.drivers import complete
from ferrokv.testing.simulated import Inode, SimulatedStorage

from ..engine.test_damage import build, copy_disk
from ..support.harness import EngineHarness

REFUSED = (CorruptionError, UnsupportedFormat)
HUGE = (1 << 64) - 1


def closed_store() -> tuple[EngineHarness, Tables]:
    store, _ = build(1)
    tables = store.engine.compactor.manifest.tables if store.engine.compactor.open_manifest else None
    assert tables is not None
    store.storage.close()
    return store, tables


def use(store: EngineHarness, disk: SimulatedStorage) -> None:
    """Open and do everything that reads what is there."""
    opened = EngineHarness(disk, store.clock)
    opened.scan()
    opened.set(b"key", b"value")
    opened.rotate()
    opened.flush()
    opened.compact(everything=True)


def a_table(tables: Tables) -> TableMeta:
    return next(iter(tables.metas.values()))


def with_table(**changes: int | bytes) -> Callable[[Tables], Edit]:
    """The manifest, with other facts of one table."""

    def forge(tables: Tables) -> Edit:
        edit = tables.as_edit()
        changed = edit.added[0]._replace(**changes)  # type: ignore[arg-type]
        return edit._replace(added=(changed, *edit.added[1:]))

    return forge


def twice_on_a_level(tables: Tables) -> Edit:
    meta = a_table(tables)._replace(level=3)
    return tables.as_edit()._replace(added=(meta, meta._replace(number=meta.number + 100)))


EDITS: dict[str, Callable[[Tables], Edit]] = {
    "level 7": with_table(level=7),
    "level 255": with_table(level=255),
    "no bytes": with_table(file_bytes=0),
    "huge file": with_table(file_bytes=HUGE),
    "huge table number": with_table(number=HUGE),
    "more tombstones than records": with_table(tombstones=1 << 40),
    "huge seqno": with_table(last_seqno=HUGE),
    "short keys": with_table(min_key=b"a", max_key=b"b"),
    "huge last seqno": lambda tables: tables.as_edit()._replace(last_seqno=HUGE),
    "huge next table": lambda tables: tables.as_edit()._replace(next_table=HUGE),
    "huge log number": lambda tables: tables.as_edit()._replace(log_number=HUGE),
    "overlapping tables": twice_on_a_level,
}


@pytest.mark.parametrize("name", EDITS)
def test_a_forged_manifest_is_refused_by_name(name: str) -> None:
    store, tables = closed_store()
    disk = copy_disk(store.storage)
    current = store.engine.compactor.manifest.current._replace(manifest_number=77)
    complete(create_manifest(disk, current, tables), disk)
    inode = disk.machine.names["manifest-00000077.log"]
    header = decode_header(bytes(inode.content), b"FKVMAN\0\0", current.store_id, 77)
    count, payload = encode_edit(EDITS[name](tables))
    inode.content[HEADER_BYTES:] = encode_frame(header.checksum, header.start(), TYPE_EDIT, count, payload)
    complete(write_current_aside(current), disk)
    complete(rename_current(), disk)
    with pytest.raises(REFUSED):
        use(store, disk)


@pytest.mark.parametrize("number", [0, 10**17 + 1, HUGE])
def test_a_forged_number_of_the_manifest_is_refused_by_name(number: int) -> None:
    store, _ = closed_store()
    disk = copy_disk(store.storage)
    complete(write_current_aside(Current(store.engine.store_id, number, 0)), disk)
    complete(rename_current(), disk)
    disk.machine.names[f"manifest-{number:08d}.log"] = Inode()
    with pytest.raises(REFUSED):
        use(store, disk)


ROOT = RootFields(HASH, 1, 1, 1, 0).encode()
NAME = CATALOGUE_NAMES + b"other"
PAYLOADS: dict[str, bytes] = {
    "name that is no UTF-8": encode_commit({CATALOGUE_NAMES + b"\xff\xfe": (b"\0\0\0\x09", 0)}),
    "empty name": encode_commit({CATALOGUE_NAMES: (b"\0\0\0\x09", 0)}),
    "short id": encode_commit({NAME: (b"\0\x09", 0)}),
    "id of the catalogue": encode_commit({NAME: (b"\0\0\0\0", 0)}),
    "root for an id": encode_commit({NAME: (ROOT, 0)}),
    "long next id": encode_commit({CATALOGUE_NEXT_ID: (b"\xff" * 8, 0)}),
    "quota of another length": encode_commit({CATALOGUE_QUOTAS + b"other": (b"\xff" * 9, 0)}),
    "key of three bytes": encode_commit({b"abc": (b"x", 0)}),
    "expiry that none has": encode_commit({b"\0\0\0\x01kx": (b"x", HUGE)}),
    "key that occurs twice": HEAD.pack(KIND_STRING, 6, 1, 0) * 2 + b"\0\0\0\x01kxv" * 2,
    "tombstone with a value": HEAD.pack(0, 6, 1, 0) + b"\0\0\0\x01kxv",
}


def append_forged(disk: SimulatedStorage, store_id: bytes, count: int, payload: bytes) -> None:
    """A frame behind the last one of the newest WAL."""
    name = max(name for name in disk.machine.names if name.startswith("wal"))
    inode = disk.machine.names[name]
    data = bytes(inode.content)
    header = decode_header(data, WAL_MAGIC, store_id, int(name[4:12]))
    position = header.start()
    while (frame := read_frame(data, header.checksum, position)) is not None:
        position = frame.after
    inode.content[position.end :] = encode_frame(header.checksum, position, TYPE_COMMIT, count, payload)


@pytest.mark.parametrize("name", PAYLOADS)
def test_a_forged_frame_is_refused_by_name(name: str) -> None:
    store, _ = closed_store()
    disk = copy_disk(store.storage)
    append_forged(disk, store.engine.store_id, 2 if "twice" in name else 1, PAYLOADS[name])
    with pytest.raises(REFUSED):
        use(store, disk)


def test_a_store_without_a_free_id_says_so() -> None:
    """The last id was given out: what is there can be read, and a new keyspace is refused."""
    store, _ = closed_store()
    disk = copy_disk(store.storage)
    append_forged(disk, store.engine.store_id, 1, encode_commit({CATALOGUE_NEXT_ID: (b"\xff" * 4, 0)}))
    opened = EngineHarness(disk, store.clock)
    assert opened.scan()
    with pytest.raises(Exception, match="fewer than 2³² keyspaces"):
        EngineHarness(disk, store.clock, keyspace="another").set(b"key", b"value")


PLACES = {
    "end": Position(0, 1 << 40, 0, 0),
    "seqno": Position(0, 0, HUGE, 0),
    "number": Position(HUGE, 0, 0, 0),
}


@pytest.mark.parametrize("name", PLACES)
def test_a_forged_header_is_refused_by_name(name: str) -> None:
    store, _ = closed_store()
    disk = copy_disk(store.storage)
    for log in [log for log in disk.machine.names if log.startswith("wal")]:
        header = encode_header(WAL_MAGIC, store.engine.store_id, int(log[4:12]), 1, PLACES[name])
        disk.machine.names[log] = Inode(bytearray(header), bytearray(header))
    with pytest.raises(REFUSED):
        use(store, disk)


def test_a_wal_that_was_cut_off_at_its_creation_is_not_missed(store_path: Path) -> None:
    """Its maker died before the header was whole. Recovery passes over its number, and so does a verification."""
    with BlockingFerroKV.open(store_path) as db:
        db.set("key", "value")
    newest = max(store_path.glob("wal-*.log"))
    number = int(newest.name[4:12]) + 1
    (store_path / f"wal-{number:08d}.log").write_bytes(b"FKVWAL\0\0\1")
    with BlockingFerroKV.open(store_path) as db:
        db.set("key", "another")
        assert db.get("key") == b"another"
        assert db.verify().problems == ()
