"""What random reads of a large store cost in memory and time. Run: `python benchmarks/memory.py [--gigabytes 1] [--keep FOLDER]`.

A store of 500-byte records in tables of 16 MiB is written directly, in sorted order. Then a process of its own opens it and gets
random keys, in rounds: resident memory, and the latency of the gets, whose blocks the page cache has. Writes
`benchmarks/results/memory.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from itertools import count
from pathlib import Path

from ferrokv import BlockingFerroKV
from ferrokv.local.compaction.builder import Outputs
from ferrokv.local.engine.manifest import Tables
from ferrokv.local.format.commits import Entry
from ferrokv.local.format.current import Current
from ferrokv.local.format.edits import TableMeta
from ferrokv.local.format.keys import CATALOGUE_NAMES, CATALOGUE_NEXT_ID, encode_keyspace_id, encode_prefix
from ferrokv.local.format.logs import Position
from ferrokv.local.opening.recovery import create_store
from ferrokv.local.storage.directory import prepare_directory
from ferrokv.local.storage.drivers import complete
from ferrokv.local.storage.local import LocalStorage
from ferrokv.local.storage.requests import File
from ferrokv.options import Options

RESULTS = Path(__file__).parent / "results"
VALUE_BYTES = 470
RECORD_BYTES = 500
PAGE = 1000
GETS = 3000
ROUNDS = 3
LEVEL = 5


def build(path: str, records: int) -> int:
    """A store of so many records; answers how many tables it has."""
    storage = LocalStorage(prepare_directory(path))
    store_id, numbers = os.urandom(16), count(1)
    metas: dict[int, TableMeta] = {}

    def finished(meta: TableMeta, file: File) -> None:
        file.close()
        metas[meta.number] = meta

    outputs = Outputs(LEVEL, store_id, Options(), (1, 1), lambda: next(numbers), finished)
    keys = [CATALOGUE_NEXT_ID, CATALOGUE_NAMES + b"default"]
    entries: list[Entry] = [(encode_keyspace_id(n), 0, 0, None) for n in (2, 1)]
    complete(outputs.add(keys, entries), storage)
    prefix = encode_prefix(1)
    for start in range(0, records, PAGE):
        keys = [prefix + b"key:%012d" % i for i in range(start, min(start + PAGE, records))]
        filler = os.urandom(VALUE_BYTES)
        entries = [(filler, 0, 0, None)] * len(keys)
        complete(outputs.add(keys, entries), storage)
    complete(outputs.finish(), storage)
    tables = Tables(metas, 1, next(numbers), 1)
    complete(create_store(storage, Current(store_id, 1, 0), tables, Position(0, 0, 1, 0)), storage)
    storage.close()
    return len(metas)


def resident() -> int:
    """MB that this process has in memory, without what it maps of files."""
    with open("/proc/self/status") as status:
        lines = dict(line.split(":", 1) for line in status)
    return int(lines["RssAnon"].split()[0]) // 1024


def measure(path: str, records: int) -> dict[str, object]:
    """In a process of its own."""
    draw = random.Random(1)
    with BlockingFerroKV.open(path) as db:
        db.get(f"key:{0:012d}")
        found: dict[str, object] = {"opened_mb": resident(), "rounds": []}
        rounds: list[dict[str, float]] = []
        for _ in range(ROUNDS):
            times = []
            for _ in range(GETS):
                key = f"key:{draw.randrange(records):012d}"
                start = time.perf_counter()
                assert db.get(key) is not None
                times.append(time.perf_counter() - start)
            times.sort()
            p50, p99 = times[len(times) // 2] * 1e6, times[len(times) * 99 // 100] * 1e6
            rounds.append(
                {
                    "mb": resident(),
                    "p50_us": round(p50),
                    "p99_us": round(p99),
                    "open_files": len(os.listdir("/proc/self/fd")),
                }
            )
        found["rounds"] = rounds
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--gigabytes", type=float, default=1)
    parser.add_argument("--keep", help="a folder for the store, which is used again if it is there")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure[0], int(arguments.measure[1]))))
        return
    records = int(arguments.gigabytes * 1e9) // RECORD_BYTES
    with tempfile.TemporaryDirectory(dir=".") as folder:
        path = arguments.keep or os.path.join(folder, "store")
        began = time.perf_counter()
        tables = len(list(Path(path).glob("table-*"))) or build(path, records)
        print(
            f"{arguments.gigabytes} GB, {records} records, {tables} tables: {time.perf_counter() - began:.0f} s to build"
        )
        command = [sys.executable, __file__, "--measure", path, str(records)]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    print(f"opened: {found['opened_mb']} MB")
    for i, one in enumerate(found["rounds"]):
        print(f"round {i + 1}, {GETS} gets: {one}")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "memory.json").write_text(
        json.dumps({"gigabytes": arguments.gigabytes, "tables": tables, **found}, indent=1)
    )


if __name__ == "__main__":
    main()
