"""A keyspace with a quota under writers at full speed: how large the directory gets, and how long a write waits.

python benchmarks/quotas.py [seconds]
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from ferrokv import BlockingFerroKV

RESULTS = Path(__file__).parent / "results" / "quotas.json"
CASES = ((20_000, 20), (20_000, 100), (500, 20))
THREADS = 4


def megabytes_in(path: str) -> float:
    """What the files of a directory take on disk."""
    size = 0
    for entry in os.scandir(path):
        try:
            size += entry.stat().st_blocks * 512
        except FileNotFoundError:
            continue
    return size / 1e6


def write_until(db: BlockingFerroKV, name: int, value_bytes: int, end: float, waits: list[float]) -> None:
    """Set ever new keys, and note how long each took."""
    value = os.urandom(value_bytes)
    count = 0
    while (began := time.perf_counter()) < end:
        db.set(f"{name}:{hash((name, count))}", value)
        waits.append(time.perf_counter() - began)
        count += 1


def measure(value_bytes: int, quota_mb: int, seconds: float) -> dict[str, Any]:
    """One case, in a store of its own."""
    with tempfile.TemporaryDirectory() as path, BlockingFerroKV.open(path, keyspace="cache") as db:
        db.set_quota(quota_mb * 1_000_000)
        waits: list[list[float]] = [[] for _ in range(THREADS)]
        end = time.perf_counter() + seconds
        threads = [
            threading.Thread(target=write_until, args=(db, i, value_bytes, end, waits[i])) for i in range(THREADS)
        ]
        for thread in threads:
            thread.start()
        peak = 0.0
        while any(thread.is_alive() for thread in threads):
            peak = max(peak, megabytes_in(path))
            time.sleep(0.02)
        every = sorted(wait for each in waits for wait in each)
        return {
            "value_bytes": value_bytes,
            "quota_mb": quota_mb,
            "seconds": seconds,
            "written_mb": round(len(every) * value_bytes / 1e6),
            "peak_mb": round(peak, 1),
            "after_mb": round(megabytes_in(path), 1),
            "set_p50_ms": round(1000 * every[len(every) // 2], 2),
            "set_p99_ms": round(1000 * every[len(every) * 99 // 100], 2),
            "set_max_ms": round(1000 * every[-1], 1),
            "evicted": db.stats().records_evicted,
        }


def main() -> None:
    """Print the rows, and write them down."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 20.0
    rows = [measure(value_bytes, quota_mb, seconds) for value_bytes, quota_mb in CASES]
    for row in rows:
        print(row)
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
