"""What is left when all have closed: nothing but the store, which is whole, and no larger than what lives in it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from ...support.speaker import ROOT, Speaker
from .director import Director, start
from .oracle import Oracle

RSS_KIB_A_MINUTE_MAX = 2048
DESCRIPTORS_MORE_MAX = 8  # beside those of tables
GRACE_NS = 700_000_000_000  # what has expired may stay on the disk for ten minutes and some
FIXED_BYTES = 2_000_000  # control page, preallocated WAL, manifest


def look_behind(director: Director, oracle: Oracle) -> dict[str, Any]:
    """Leaks, then two reopenings, each read back for the oracle and verified."""
    store = director.disk.path / "store"
    dead = sorted(path.name for path in store.glob("process-*.lock"))
    if dead:
        oracle.violations.append(f"lock files of the dead are left: {dead}")
    found = {"long_lived": long_lived(oracle), "disk_over_time": thinned(director.weights)}
    for generation in range(2):
        read_back(director, oracle, generation)
    oracle.check_jobs()
    found |= weigh(store, oracle, director.stepped_back_ns)
    read_back(director, oracle, 2)
    return found


def thinned(rows: list[dict[str, float]]) -> list[dict[str, float]]:
    """About twenty of them, the last one included."""
    return rows[:: -max(1, len(rows) // 20)][::-1]


def read_back(director: Director, oracle: Oracle, generation: int) -> None:
    oracle.left.clear()
    checker: Speaker = start("check", 7, generation, director.slots[0].page, oracle, director.disk)
    code = checker.end(kill=False)
    oracle.settle(finally_=True)
    if code:
        oracle.violations.append(f"the store could not be read back: exit code {code}")


def long_lived(oracle: Oracle) -> list[dict[str, Any]]:
    """The processes that lived for long enough to show a slope, and what they gathered."""
    rows = []
    for program, samples in oracle.samples.items():
        growth = slope_of(samples, "rss_kib")
        if growth is None:
            continue
        third, last = samples[len(samples) // 3], samples[-1]
        row = {
            "process": program,
            "minutes": round((last["time"] - samples[0]["time"]) / 60, 1),
            "rss_kib": [third["rss_kib"], last["rss_kib"]],
            "rss_kib_a_minute": round(growth, 1),
            "descriptors_without_tables": [third["descriptors"], last["descriptors"]],
            "tables_open": [
                third["tables_open"],
                last["tables_open"],
                max(sample["tables_open"] for sample in samples),
            ],
            "removed_open_most": max(sample["removed_open"] for sample in samples),
            "threads": [third["threads"], last["threads"]],
        }
        rows.append(row)
        if growth > RSS_KIB_A_MINUTE_MAX:
            oracle.violations.append(f"memory grows: {row}")
        if last["descriptors"] > third["descriptors"] + DESCRIPTORS_MORE_MAX:
            oracle.violations.append(f"descriptors leak: {row}")
        if last["threads"] > third["threads"] + 2:
            oracle.violations.append(f"threads leak: {row}")
    return rows


def weigh(store: Path, oracle: Oracle, stepped_back_ns: int) -> dict[str, Any]:
    """What is in the directory after a compaction, against what lives in the store.

    After a step back of any process's clock, what has expired stays for as much longer (docs/decisions/0023-clocks.md).
    """
    command = [sys.executable, "-m", "tests.processes.soak.weigh", str(store)]
    facts = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)
    kept_ns = GRACE_NS + stepped_back_ns
    recent = sum(size for at, size in oracle.churned if time.monotonic_ns() - at < kept_ns)
    if facts["unnamed"]:
        oracle.violations.append(f"files that nothing names: {facts['unnamed']}")
    if facts["disk_bytes"] > 2 * (facts["live_bytes"] + recent) + FIXED_BYTES:
        oracle.violations.append(f"the directory is too large: {facts} expired_lately={recent}")
    return {**facts, "expired_in_grace_bytes": recent}


def slope_of(samples: list[dict[str, float]], field: str) -> float | None:
    """Growth a minute over the later two thirds of a process's life, by least squares; None for less than two minutes."""
    samples = samples[len(samples) // 3 :]
    if len(samples) < 10 or samples[-1]["time"] - samples[0]["time"] < 120:
        return None
    times = [sample["time"] / 60 for sample in samples]
    values = [sample[field] for sample in samples]
    middle, mean = sum(times) / len(times), sum(values) / len(values)
    above = sum((t - middle) * (v - mean) for t, v in zip(times, values, strict=True))
    return above / sum((t - middle) ** 2 for t in times)
