"""How long one command holds the write lock on an idle machine, by the number of records that it reads or writes.

    python benchmarks/turns.py

The figures are what `TURN_RECORDS_MAX` (ferrokv/local/format/limits.py) is chosen by.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

from ferrokv import BlockingFerroKV, FerroKVError

SIZES = (16_000, 64_000, 128_000, 256_000)
RESULTS = Path(__file__).parent / "results" / "turns.json"


def timed(call: object) -> float | str:
    """Milliseconds of processor time that a call took, or the name of what it raised."""
    begin = time.process_time()
    try:
        call()  # type: ignore[operator]
    except FerroKVError as error:
        return f"{type(error).__name__} after {1000 * (time.process_time() - begin):.1f} ms"
    return round(1000 * (time.process_time() - begin), 1)


def measure(size: int) -> dict[str, float | str]:
    """Each command on collections of so many elements, in a store of its own."""
    with tempfile.TemporaryDirectory() as path, BlockingFerroKV.open(path) as db:
        for i in range(0, size, 10_000):
            part = [f"{j:07d}" for j in range(i, min(i + 10_000, size))]
            db.hset("h", mapping=dict.fromkeys(part, "v" * 20))
            db.sadd("s", *part)
            db.rpush("l", *part)
        names = [f"key:{i:07d}" for i in range(size)]
        return {
            "mset": timed(lambda: db.mset(dict.fromkeys(names, "v" * 20))),
            "copy": timed(lambda: db.copy("h", "h2")),
            "sunionstore": timed(lambda: db.sunionstore("s2", ["s"])),
            "lrem": timed(lambda: db.lrem("l", 1, "none")),
            "spop": timed(lambda: db.spop("s", 1)),
            "delete": timed(lambda: db.delete("h")),
        }


def main() -> None:
    """Print the table, and write it down unless told otherwise."""
    rows = {size: measure(size) for size in SIZES}
    for size, row in rows.items():
        print(f"{size:>9,}", row)
    if "--dry" not in sys.argv:
        RESULTS.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
