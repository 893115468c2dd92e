"""Write the golden files of the current format version: `python -m tools.make_golden`. Done once for each version."""

from __future__ import annotations

import json
from array import array
from pathlib import Path

from ferrokv.local.commands import floats
from ferrokv.local.format import blocks, commits, control, current, edits, filters, keys, logs, roots, tables
from ferrokv.local.format.checksums import hash_key, table_seed
from ferrokv.local.format.limits import NEVER
from ferrokv.local.format.versions import STORE
from ferrokv.testing.simulated import SimulatedStorage
from tests.support.harness import EngineHarness, ManualClock

HOME = Path(__file__).parent.parent / "tests" / "format" / "golden"
STORE_ID = bytes(range(16))


def encoders() -> dict[str, str]:
    """Every encoder with fixed arguments, as hexadecimal digits."""
    head = logs.encode_header(logs.WAL_MAGIC, STORE_ID, 7, 0x1122334455667788, logs.Position(6, 5000, 41, 99))
    header = logs.decode_header(head, logs.WAL_MAGIC, STORE_ID, 7)
    records = {b"\0\0\0\x01ka": (b"1", 0), b"\0\0\0\x01kb": (None, 0), b"\0\0\0\x01kc": (b"3", 1_700_000_000_000)}
    seed = table_seed(STORE_ID, 3)
    words = array("Q", bytes(8 * filters.word_count(3)))
    filters.add_hashes(words, map(hash_key, records))
    tags = bytes(hash_key(key) & 255 for key in records)
    meta = edits.TableMeta(3, 1, 4096, 3, 1, 5, 9, 0, NEVER, 77, b"\0\0\0\x01ka", b"\0\0\0\x01kc")
    made = {
        "current": current.encode_current(current.Current(STORE_ID, 5, 1_700_000_000_000)),
        "header": head,
        "frame": logs.encode_frame(
            header.checksum, header.start(), logs.TYPE_COMMIT, 3, commits.encode_commit(records)
        ),
        "edit": edits.encode_edit(edits.Edit((meta,), (1, 2), 8, 4, 9))[1],
        "merge_edit": edits.encode_edit(edits.Edit(merge=edits.MergeProgress(0, (4, 5), b"\0\0\0\x01kb")))[1],
        "block": blocks.encode_block(list(records), [(*entry, 0, None) for entry in records.values()], tags, seed),
        "filter": filters.encode_filter(words, seed + 100),
        "index": tables.encode_index(tables.Index((0, 200), (NEVER,), [b"\0\0\0\x01kc"]), seed + 200),
        "footer": tables.encode_footer(tables.Footer(1, 3, 100, 200, 3), seed + 300),
        "control": control.encode_page(STORE_ID, bytes(16), 1)[:128],
        "prefix": keys.encode_prefix(258),
        "root": roots.RootFields(roots.LIST, 5 << 20 | 3, 7, 2, roots.FIRST_INDEX - 1).encode(),
        "element": keys.element_prefix(keys.encode_prefix(258), 5 << 20) + b"field",
        "owner": keys.owner_key(keys.encode_prefix(258), 5 << 20),
        "scores": b"".join(map(floats.encode_score, (float("-inf"), -1.5, -0.0, 0.0, 2.25, float("inf")))),
        "collections": commits.encode_commit(collection_records()),
        "collection_block": collection_block(),
        "masks": b"".join(mask.to_bytes(8, "little") for mask in filters.MASKS[:4]),
    }
    return {name: data.hex() for name, data in made.items()}


def collection_records() -> dict[bytes, tuple[bytes | None, int]]:
    """A list of one element with a TTL, as one commit makes it."""
    prefix = keys.encode_prefix(1)
    root = roots.RootFields(roots.LIST, 5 << 20, 1, 1, roots.FIRST_INDEX)
    return {
        keys.element_prefix(prefix, 5 << 20) + roots.FIRST_INDEX.to_bytes(8, "big"): (b"element", 0),
        prefix + b"jobs": (root.encode(), 1_700_000_000_000),
        keys.owner_key(prefix, 5 << 20): (b"jobs", 0),
    }


def collection_block() -> bytes:
    """The same as a block."""
    records = sorted(collection_records().items())
    tags = bytes(hash_key(key) & 255 for key, _ in records)
    return blocks.encode_block([key for key, _ in records], [(*entry, 0, None) for _, entry in records], tags, 99)


def write_store(folder: Path) -> None:
    """A small store with two levels of tables and an unflushed WAL."""
    store = EngineHarness(SimulatedStorage(1), ManualClock())
    for i in range(30):
        store.set(b"key:%02d" % i, b"value %d" % i, None if i % 3 else 10_000_000_000)
        if i in (9, 19):
            store.rotate()
            store.flush()
            store.compact(everything=i == 9)
    store.delete(b"key:05", b"key:25")
    folder.mkdir(parents=True)
    for name, inode in store.storage.machine.names.items():
        (folder / name).write_bytes(bytes(inode.content))


if __name__ == "__main__":
    write_store(HOME / f"v{STORE.written}")
    (HOME / f"v{STORE.written}.json").write_text(json.dumps(encoders(), indent=1) + "\n")
