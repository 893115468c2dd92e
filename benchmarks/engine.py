"""Engine figures against the targets that the project set itself. Run: `make bench`, or `python benchmarks/engine.py`.

Prints a table and writes `benchmarks/results/engine.json`. Medians of interleaved rounds within one run; compare ratios, for
absolute times move with the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from ferrokv import BlockingFerroKV, FerroKV, WriteBatch

RESULTS = Path(__file__).parent / "results"


def per_call(function: Callable[[], object], calls: int, rounds: int = 7) -> float:
    """Median µs of a call."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(calls):
            function()
        times.append((time.perf_counter() - start) / calls * 1e6)
    return statistics.median(times)


def durable_set(folder: str, writes: int) -> dict[str, float]:
    """One thread: a bare pwrite+fdatasync on a preallocated file against `set`, in turn."""
    fd = os.open(os.path.join(folder, "bare"), os.O_CREAT | os.O_RDWR)
    os.posix_fallocate(fd, 0, 8 << 20)
    os.fsync(fd)
    data = os.urandom(128)
    bare: list[float] = []
    ours: list[float] = []
    with BlockingFerroKV.open(os.path.join(folder, "set")) as db:
        for i in range(writes):
            start = time.perf_counter()
            os.pwrite(fd, data, i * 128)
            os.fdatasync(fd)
            middle = time.perf_counter()
            db.set(b"key:%d" % (i % 1000), data)
            bare.append(middle - start)
            ours.append(time.perf_counter() - middle)
    os.close(fd)
    a, b = statistics.median(bare) * 1e6, statistics.median(ours) * 1e6
    return {"bare_us": a, "set_us": b, "ratio": b / a}


def memtable_get(folder: str) -> dict[str, float]:
    with BlockingFerroKV.open(os.path.join(folder, "get")) as db:
        db.mset({b"key:%d" % i: b"v" * 120 for i in range(1000)})
        blocking = per_call(lambda: db.get(b"key:500"), 100_000)

    async def native() -> float:
        async with FerroKV.open(os.path.join(folder, "get")) as db:
            times = []
            for _ in range(7):
                start = time.perf_counter()
                for _ in range(100_000):
                    await db.get(b"key:500")
                times.append((time.perf_counter() - start) / 100_000 * 1e6)
            return statistics.median(times)

    return {"blocking_us": blocking, "async_us": asyncio.run(native())}


def concurrent_sets(folder: str) -> dict[str, float]:
    async def run() -> dict[str, float]:
        async with FerroKV.open(os.path.join(folder, "concurrent")) as db:
            single: list[float] = []
            many: list[float] = []
            for _ in range(100):
                start = time.perf_counter()
                await db.set(b"key", b"v" * 120)
                middle = time.perf_counter()
                await asyncio.gather(*(db.set(b"key:%d" % i, b"v" * 120) for i in range(64)))
                single.append(middle - start)
                many.append((time.perf_counter() - middle) / 64)
            a, b = statistics.median(single) * 1e6, statistics.median(many) * 1e6
            return {"single_us": a, "each_of_64_us": b, "ratio": b / a}

    return asyncio.run(run())


def table_reads(folder: str, records: int) -> dict[str, float]:
    """Hits in cached blocks without the hot cache, hits in the hot cache, and scans, on a compacted store."""
    path = os.path.join(folder, "tables")
    with BlockingFerroKV.open(path, hot_cache_bytes=0, block_cache_bytes=256 << 20) as db:
        for start in range(0, records, 1000):
            batch = WriteBatch()
            for i in range(start, start + 1000):
                batch.set(b"key:%09d" % i, b"v" * 120)
            db.write(batch)
        db.compact()
        names = [b"key:%09d" % (i * 7919 % records) for i in range(20_000)]
        for name in names:
            db.get(name)
        cached = statistics.median(_get_all(db, names) for _ in range(7))
        scans = []
        for _ in range(5):
            began = time.perf_counter()
            found = sum(1 for _ in db.scan())
            scans.append(found / (time.perf_counter() - began))
    with BlockingFerroKV.open(path) as db:
        for _ in range(2):
            _get_all(db, names[:2000])
        hot = statistics.median(_get_all(db, names[:2000]) for _ in range(7))
    return {"cached_block_us": cached, "hot_us": hot, "scan_records_per_s": statistics.median(scans)}


def _get_all(db: BlockingFerroKV, names: list[bytes]) -> float:
    get = db.get
    start = time.perf_counter()
    for name in names:
        get(name)
    return (time.perf_counter() - start) / len(names) * 1e6


def batches(folder: str) -> dict[str, float]:
    """200,000 records of 120 bytes in batches of 1,000, flushed and compacted; then ranges of 100 of them."""
    random = Random(5)
    names = [b"key:%09d" % i for i in range(200_000)]
    random.shuffle(names)
    with BlockingFerroKV.open(os.path.join(folder, "batches")) as db:
        began = time.perf_counter()
        for start in range(0, len(names), 1000):
            db.mset(dict.fromkeys(names[start : start + 1000], b"v" * 120))
        db.flush()
        db.compact()
        rate = len(names) / (time.perf_counter() - began)
        times = []
        for _ in range(2_000):
            first = b"key:%09d" % random.randrange(len(names) - 100)
            began = time.perf_counter()
            assert sum(1 for _ in db.scan(first, limit=100)) == 100
            times.append((time.perf_counter() - began) * 1e6)
    return {"records_per_s": rate, "range_of_100_us": statistics.median(times)}


def loop_lag(folder: str, seconds: float = 20) -> dict[str, float]:
    """How late an event loop is while it writes 20,000 records a second, with the flushes and compactions that follow."""

    async def run() -> dict[str, float]:
        late: list[float] = []
        random = Random(6)
        async with FerroKV.open(os.path.join(folder, "lag")) as db:
            end = time.perf_counter() + seconds

            async def write() -> None:
                due = time.perf_counter()
                while due < end:
                    await db.mset({b"key:%09d" % random.randrange(10**9): b"v" * 120 for _ in range(50)})
                    due += 50 / 20_000
                    await asyncio.sleep(max(0.0, due - time.perf_counter()))

            async def tick() -> None:
                while (now := time.perf_counter()) < end:
                    await asyncio.sleep(0.001)
                    late.append((time.perf_counter() - now) * 1000 - 1)

            await asyncio.gather(write(), tick())
        late.sort()
        return {f"p{p:g}_ms": late[int(len(late) * p / 100)] for p in (50, 99, 99.9)}

    return asyncio.run(run())


def load_million(folder: str, records: int) -> dict[str, float]:
    """In a process of its own, so that its peak memory is its own: load, then open again."""
    path = os.path.join(folder, "million")
    program = f"""
import resource, time
from ferrokv import BlockingFerroKV, WriteBatch
begin = time.perf_counter()
with BlockingFerroKV.open({path!r}) as db:
    for start in range(0, {records}, 1000):
        batch = WriteBatch()
        for i in range(start, start + 1000):
            batch.set(b"key:%012d" % (i * 7919 % {records}), b"v" * 134)
        db.write(batch)
    loaded = time.perf_counter() - begin
print(loaded, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    out = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    opens = []
    for _ in range(5):
        begin = time.perf_counter()
        db = BlockingFerroKV.open(path)
        opens.append((time.perf_counter() - begin) * 1000)
        assert db.get(b"key:%012d" % 5) is not None
        db.close()
    return {
        "load_s": float(out[0]),
        "records_per_s": records / float(out[0]),
        "peak_rss_mb": int(out[1]) / 1024,
        "open_ms": statistics.median(opens),
    }


def import_time() -> dict[str, float]:
    times, empty = [], []
    for _ in range(9):
        for program, kept in (("import ferrokv", times), ("pass", empty)):
            begin = time.perf_counter()
            subprocess.run([sys.executable, "-c", program], check=True)
            kept.append((time.perf_counter() - begin) * 1000)
    return {"import_ms": statistics.median(times) - statistics.median(empty)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument(
        "--folder", help="where the stores are made (default: a temporary folder in the working directory)"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder or ".") as folder:
        results = {
            "durable_set": durable_set(folder, 2000),
            "memtable_get": memtable_get(folder),
            "concurrent_sets": concurrent_sets(folder),
            "table_reads": table_reads(folder, 100_000),
            "batches": batches(folder),
            "loop_lag": loop_lag(folder),
            "load": load_million(folder, arguments.records),
            "import": import_time(),
        }
    for name, figures in results.items():
        print(f"{name:16}", "  ".join(f"{key}={value:,.2f}" for key, value in figures.items()))
    RESULTS.mkdir(exist_ok=True)
    about = {"python": platform.python_version(), "machine": platform.machine(), "cpus": os.cpu_count()}
    (RESULTS / "engine.json").write_text(json.dumps({"about": about, **results}, indent=1) + "\n")
    print("own peak RSS MB", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, file=sys.stderr)


if __name__ == "__main__":
    main()
