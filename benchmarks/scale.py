"""A store under more load than it can take, over time: does any curve grow without a bound?

`python benchmarks/scale.py [--records 10000000] [--processes 4] [--bytes 500] [--descriptors N] [--name NAME]` has so many
processes write batches of 100 as fast as they can: first each record once in random order, then half as many overwrites, then a
quarter as many with TTLs of 5 to 30 seconds. One more process reads random keys all the time. A row every five seconds goes to
benchmarks/results/NAME.json: records per second, tables of each level, latency of `get`, memory and descriptors of the
processes, bytes on disk, bytes written to the device. At the end the store is compacted, and the same `get` is measured beside as
many processes that only compute. The plots go to benchmarks/results/NAME.svg. `--descriptors` is what `ulimit -n` sets.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import resource
import shutil
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Any

from ferrokv import BlockingFerroKV

RESULTS = Path(__file__).parent / "results"
BATCH = 100
ROW_SECONDS = 5.0
BUSY_TIMEOUT = 60.0
PHASES = ("load", "overwrite", "ttl")
Row = dict[str, Any]


def limit_descriptors(count: int | None) -> None:
    """As `ulimit -n` does."""
    if count is not None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))


def name_of(number: int) -> str:
    """A key; neighbours in number are no neighbours in order."""
    return f"key:{number * 2_654_435_761 % (1 << 32):010}:{number}"


def write(path: str, args: argparse.Namespace, part: int, phase: str, done: Any) -> None:
    """One writer: its share of a phase."""
    limit_descriptors(args.descriptors)
    random = Random(f"{phase}:{part}")
    with BlockingFerroKV.open(path, busy_timeout=BUSY_TIMEOUT) as db:
        share = {"load": 1.0, "overwrite": 0.5, "ttl": 0.25}[phase] * args.records / args.processes
        for start in range(0, int(share), BATCH):
            values = {}
            for i in range(start, start + BATCH):
                number = i * args.processes + part if phase == "load" else random.randrange(args.records)
                values[name_of(number)] = random.randbytes(args.bytes // 2).hex()
            if phase == "ttl":
                with db.pipeline() as pipe:
                    for name, value in values.items():
                        pipe.set(f"ttl:{name}", value, ex=random.randrange(5, 30))
                    pipe.execute()
            else:
                db.mset(values)
            with done.get_lock():
                done.value += BATCH


def burn(path: str, args: argparse.Namespace, part: int, phase: str, done: Any) -> None:
    """A process that only computes."""
    while True:
        sum(range(10_000))


class Reader:
    """Random gets in this process, and their latency."""

    def __init__(self, db: BlockingFerroKV, records: int) -> None:
        self._db = db
        self._records = records
        self._random = Random(99)

    def measure(self, seconds: float) -> dict[str, float]:
        """µs at the 50th, 99th and 99.9th percentile of gets, one after the other."""
        found = []
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            name = name_of(self._random.randrange(self._records))
            begin = time.perf_counter()
            self._db.get(name)
            found.append((time.perf_counter() - begin) * 1e6)
        found.sort()
        return {
            f"get_p{p:g}_us": round(found[min(len(found) - 1, int(len(found) * p / 100))], 1) for p in (50, 99, 99.9)
        }


def of_processes(pids: list[int]) -> Row:
    """Memory in MiB and descriptors of the largest, and MiB that all have written to the device."""
    rss, descriptors, written = [], [], 0
    for pid in pids:
        try:
            status = Path(f"/proc/{pid}/status").read_text()
            io = Path(f"/proc/{pid}/io").read_text()
            descriptors.append(len(os.listdir(f"/proc/{pid}/fd")))
        except OSError:
            continue
        if "VmRSS:" not in status:
            continue  # it has just ended
        rss.append(int(status.partition("VmRSS:")[2].split()[0]) / 1024)
        written += int(io.partition("\nwrite_bytes:")[2].split()[0])
    return {"rss_mib": round(max(rss)), "descriptors": max(descriptors), "written_mib": round(written / (1 << 20))}


def disk_mib(path: str) -> float:
    """Allocated MiB of the directory."""
    found = 0
    for entry in os.scandir(path):
        try:
            found += entry.stat().st_blocks * 512
        except FileNotFoundError:
            continue
    return round(found / (1 << 20), 1)


def watch(
    db: BlockingFerroKV, reader: Reader, path: str, phase: str, running: list[Any], done: Any, began: float
) -> list[Row]:
    """Rows until all writers have ended."""
    rows: list[Row] = []
    before, at = done.value, time.monotonic()
    while any(process.is_alive() for process in running):
        latency = reader.measure(ROW_SECONDS)
        stats = db.stats()
        now, count = time.monotonic(), done.value
        row = {
            "phase": phase,
            "seconds": round(now - began, 1),
            "records": count,
            "records_per_second": round((count - before) / (now - at)),
            "level0": stats.levels[0].tables,
            "tables": sum(level.tables for level in stats.levels),
            "level_mib": [round(level.bytes / (1 << 20)) for level in stats.levels],
            "disk_mib": disk_mib(path),
            **latency,
            **of_processes([os.getpid(), *(process.pid for process in running)]),
        }
        before, at = count, now
        rows.append(row)
        print(json.dumps(row), flush=True)
    assert not any(process.exitcode for process in running), "a writer has failed"
    return rows


def run(args: argparse.Namespace, path: str) -> Row:
    """The whole run."""
    limit_descriptors(args.descriptors)
    context = multiprocessing.get_context("spawn")
    done = context.Value("q", 0)
    rows: list[Row] = []
    began = time.monotonic()
    totals: dict[str, Any] = {}

    def start(work: Any, phase: str) -> list[Any]:
        processes = [
            context.Process(target=work, args=(path, args, i, phase, done), daemon=True) for i in range(args.processes)
        ]
        for process in processes:
            process.start()
        return processes

    with BlockingFerroKV.open(path, busy_timeout=BUSY_TIMEOUT) as db:
        reader = Reader(db, args.records)
        for phase in PHASES:
            first, at = done.value, time.monotonic()
            rows += watch(db, reader, path, phase, start(write, phase), done, began)
            totals[phase] = round((done.value - first) / (time.monotonic() - at))
        at = time.monotonic()
        db.compact()
        totals["compact_seconds"] = round(time.monotonic() - at, 1)
        totals["disk_mib_compacted"] = disk_mib(path)
        burners = start(burn, "")
        drained = reader.measure(20)
        for process in burners:
            process.kill()
    return {"totals": totals, "drained": drained, "rows": rows}


def summarise(found: Row, args: argparse.Namespace) -> Row:
    """What the curves come to."""
    rows = found["rows"]
    loaded = [row for row in rows if row["phase"] != "ttl"]
    middle = sorted(row["get_p50_us"] for row in rows)[len(rows) // 2]
    tail = sorted(row["get_p99_us"] for row in rows)[len(rows) // 2]
    logical = args.records * args.bytes / (1 << 20)
    return {
        "level0_highest": max(row["level0"] for row in rows),
        "rss_mib_highest": max(row["rss_mib"] for row in rows),
        "descriptors_highest": max(row["descriptors"] for row in rows),
        "space_amplification_highest": round(max(row["disk_mib"] for row in loaded) / logical, 2),
        "get_p50_against_drained": round(middle / found["drained"]["get_p50_us"], 2),
        "get_p99_against_drained": round(tail / found["drained"]["get_p99_us"], 2),
    }


def plot(found: Row, file: Path) -> None:
    """The curves over time."""
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt

    rows = found["rows"]
    seconds = [row["seconds"] for row in rows]
    panels = {
        "records per second": ["records_per_second"],
        "tables in level 0": ["level0"],
        "get, µs": ["get_p50_us", "get_p99_us", "get_p99.9_us"],
        "memory of the largest process, MiB": ["rss_mib"],
        "descriptors of the largest process": ["descriptors"],
        "on disk, MiB": ["disk_mib"],
    }
    figure, axes = plt.subplots(3, 2, figsize=(10, 9), layout="constrained")
    for axis, (title, names) in zip(axes.flat, panels.items(), strict=True):
        for name in names:
            axis.plot(seconds, [row[name] for row in rows], label=name)
        axis.set_title(title)
        axis.set_xlabel("seconds")
        axis.set_ylim(bottom=0)
        if len(names) > 1:
            axis.set_yscale("log")
            axis.set_ylim(bottom=1)
            axis.legend()
        for border in [
            row["seconds"] for row, last in zip(rows[1:], rows, strict=False) if row["phase"] != last["phase"]
        ]:
            axis.axvline(border, color="grey", linestyle=":")
    figure.savefig(file)


def main() -> None:
    """Run, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=10_000_000)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--bytes", type=int, default=500)
    parser.add_argument("--descriptors", type=int)
    parser.add_argument("--name", default="scale")
    args = parser.parse_args()
    path = tempfile.mkdtemp(prefix="ferrokv-scale-", dir=os.environ.get("FERROKV_SCALE_DIR"))
    try:
        found = run(args, path)
    finally:
        shutil.rmtree(path)
    settings = {name: getattr(args, name) for name in ("records", "processes", "bytes", "descriptors")}
    head = {"python": platform.python_version(), "cores": os.cpu_count(), **settings, **summarise(found, args)}
    print(json.dumps(head, indent=1))
    (RESULTS / f"{args.name}.json").write_text(json.dumps({**head, **found}, indent=1) + "\n")
    plot(found, RESULTS / f"{args.name}.svg")


if __name__ == "__main__":
    main()
