"""Four processes on one directory, 90 % get and 10 % durable set over 10,000 keys: total operations beside diskcache's.

`python benchmarks/processes.py [seconds] [rounds]` writes benchmarks/results/processes.json. diskcache runs twice: with
`sqlite_synchronous=2`, which syncs each write as ferrokv always does, and with its default, which syncs none. Rounds
alternate; ratios are of one round, the median of them is reported. Also here: what the check for news costs a `get`, and how
long the second opening of a living directory takes.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import diskcache

from ferrokv import BlockingFerroKV

PROCESSES = 4
KEYS = 10_000
VALUE = b"v" * 100
STORES = ("ferrokv", "diskcache synchronous=2", "diskcache default")


def open_store(kind: str, path: str) -> tuple[Callable[[str], Any], Callable[[str, bytes], Any], Callable[[], None]]:
    """get, set and close of one store."""
    if kind == "ferrokv":
        db = BlockingFerroKV.open(path)
        return db.get, db.set, db.close
    settings = {"sqlite_synchronous": 2} if kind.endswith("2") else {}
    cache = diskcache.Cache(path, timeout=60, **settings)
    return cache.get, cache.set, cache.close


def fill(kind: str, path: str) -> None:
    """All keys, so that every get is a hit."""
    if kind == "ferrokv":
        with BlockingFerroKV.open(path) as db:
            db.mset({f"key:{i}": VALUE for i in range(KEYS)})
        return
    with diskcache.Cache(path) as cache, cache.transact():
        for i in range(KEYS):
            cache.set(f"key:{i}", VALUE)


def work(kind: str, path: str, seed: int, seconds: float, barrier: Any, results: Any) -> None:
    """One process: operations until the time is over."""
    get, put, close = open_store(kind, path)
    random = Random(seed)
    names = [f"key:{i}" for i in range(KEYS)]
    get("key:0")
    barrier.wait()
    done = sets = 0
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for _ in range(10):
            name = names[int(random.random() * KEYS)]
            if random.random() < 0.1:
                put(name, VALUE)
                sets += 1
            elif get(name) is None:
                raise AssertionError("a key is missing")
        done += 10
    results.put((done, sets))
    close()


def measure(kind: str, parent: str, seconds: float) -> tuple[float, float]:
    """(operations, sets) a second of all processes together."""
    path = os.path.join(parent, kind.replace(" ", "-").replace("=", "-"))
    fill(kind, path)
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(PROCESSES), context.Queue()
    workers = [
        context.Process(target=work, args=(kind, path, seed, seconds, barrier, results)) for seed in range(PROCESSES)
    ]
    for worker in workers:
        worker.start()
    counts = [results.get() for _ in workers]
    for worker in workers:
        worker.join()
    shutil.rmtree(path)
    return sum(done for done, _ in counts) / seconds, sum(sets for _, sets in counts) / seconds


def best_of(call: Callable[[], Any], times: int) -> float:
    """Median seconds of one call, over runs of `times`."""
    runs = []
    for _ in range(15):
        began = time.perf_counter()
        for _ in range(times):
            call()
        runs.append((time.perf_counter() - began) / times)
    return statistics.median(runs)


def measure_check(path: str) -> dict[str, float]:
    """A memory hit with the control check, and the same without it: the words replaced by the value that was followed."""
    with BlockingFerroKV.open(path) as db:
        db.set(b"k", VALUE)
        engine = db._store.engine
        words = engine.words

        def probe_alone() -> None:
            from ferrokv.local.tree.read import probe

            view = engine.view
            probe(view, view.catalogue.prefixes["default"] + b"k", engine.clock)

        def check() -> bool:
            return words[16] != engine.seen

        def nothing() -> bool:
            return engine.seen is None

        with_check = best_of(lambda: db.get(b"k"), 20_000)
        probe_alone()
        return {"get_us": with_check * 1e6, "check_us": (best_of(check, 20_000) - best_of(nothing, 20_000)) * 1e6}


def measure_second_open(path: str) -> float:
    """Median seconds until a second process has attached and read one key, without its start of Python."""
    program = (
        "import sys, time; from ferrokv import BlockingFerroKV as F; t = time.perf_counter(); d = F.open(sys.argv[1]); "
        "d.get('key:1'); print(time.perf_counter() - t)"
    )
    import subprocess

    times = []
    with BlockingFerroKV.open(path) as db:
        db.mset({f"key:{i}": VALUE for i in range(KEYS)})
        db.flush()
        for _ in range(9):
            done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=True)
            times.append(float(done.stdout))
    return statistics.median(times)


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 3.0
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    found: dict[str, list[float]] = {kind: [] for kind in STORES}
    sets: dict[str, list[float]] = {kind: [] for kind in STORES}
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as parent:
        for round_ in range(rounds):
            for kind in STORES:
                total, written = measure(kind, parent, seconds)
                found[kind].append(total)
                sets[kind].append(written)
                print(f"round {round_ + 1}: {kind}: {total:,.0f} operations/s, {written:,.0f} sets/s", flush=True)
        check = measure_check(os.path.join(parent, "check"))
        second_open_ms = measure_second_open(os.path.join(parent, "second")) * 1e3
    ratios = {
        kind: statistics.median(a / b for a, b in zip(found["ferrokv"], found[kind], strict=True))
        for kind in STORES[1:]
    }
    result = {
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "processes": PROCESSES,
        "operations_per_second": found,
        "sets_per_second": sets,
        "ratio_to": ratios,
        **check,
        "second_open_ms": second_open_ms,
    }
    print(json.dumps({"ratio_to": ratios, **check, "second_open_ms": second_open_ms}, indent=1))
    out = Path(__file__).parent / "results" / "processes.json"
    out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
