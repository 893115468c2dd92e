"""Is a compactor in a process of its own worth having? Batches and an event loop, with flushes and merges here or elsewhere.

`python benchmarks/compactor.py [--rounds 5]` loads 200,000 records of 120 bytes in batches of 1,000 and waits until level 0 is
merged, at the pace of the background, which naps to leave others the interpreter (benchmarks/engine.py has the unpaced
`compact`). Then it measures how late an event loop is while it writes 20,000 records a second. Both are done with the library
as it is, whose background thread shares the interpreter's lock with the caller, and with that thread told to do nothing while a
second process has the store open and does the work. Rounds alternate; medians and their ratio go to
benchmarks/results/compactor.json.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from engine import loop_lag

from ferrokv import BlockingFerroKV
from ferrokv.local.runtime.background import Background

RESULT = Path(__file__).parent / "results" / "compactor.json"
COMPACTOR = """
import sys
from ferrokv import BlockingFerroKV
with BlockingFerroKV.open(sys.argv[1]):
    print("open", flush=True)
    sys.stdin.read()
"""


@contextmanager
def elsewhere(path: str) -> Iterator[None]:
    """A second process has the store open, and this one's background thread finds nothing due."""
    due = Background._due
    with subprocess.Popen(
        [sys.executable, "-c", COMPACTOR, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as compactor:
        assert compactor.stdout is not None
        compactor.stdout.readline()
        Background._due = lambda self, idle: False  # type: ignore[method-assign, misc, assignment]
        try:
            yield
        finally:
            Background._due = due  # type: ignore[method-assign]
            assert compactor.stdin is not None
            compactor.stdin.close()


@contextmanager
def here(path: str) -> Iterator[None]:
    """As the library does it."""
    yield


def load(path: str) -> float:
    """Records per second, until level 0 is merged."""
    names = [b"key:%09d" % i for i in range(200_000)]
    Random(5).shuffle(names)
    with BlockingFerroKV.open(path) as db:
        began = time.perf_counter()
        for start in range(0, len(names), 1000):
            db.mset(dict.fromkeys(names[start : start + 1000], b"v" * 120))
        loaded = time.perf_counter() - began
        db.flush()
        while (stats := db.stats()).levels[0].tables >= 4 or stats.sealed_memtables:
            time.sleep(0.002)  # nothing tells when the background has come so far
        return len(names) / max(loaded, time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0)
    given = parser.parse_args()
    found: dict[str, dict[str, list[float]]] = {"here": {}, "elsewhere": {}}
    for _ in range(given.rounds):
        for place in (here, elsewhere):
            with tempfile.TemporaryDirectory(dir=".") as folder:
                path = os.path.join(folder, "store")
                BlockingFerroKV.open(path).close()
                with place(path):
                    found[place.__name__].setdefault("records_per_s", []).append(load(path))
            with tempfile.TemporaryDirectory(dir=".") as folder:
                path = os.path.join(folder, "lag")  # where `loop_lag` opens its store
                BlockingFerroKV.open(path).close()
                with place(path):
                    late = loop_lag(folder, given.seconds)["p99.9_ms"]
                    found[place.__name__].setdefault("lag_p99.9_ms", []).append(late)
            print(place.__name__, {name: round(values[-1], 2) for name, values in found[place.__name__].items()})
    medians = {
        place: {name: statistics.median(values) for name, values in rows.items()} for place, rows in found.items()
    }
    ratio = {name: medians["elsewhere"][name] / medians["here"][name] for name in medians["here"]}
    RESULT.write_text(json.dumps({"medians": medians, "ratio": ratio}, indent=1) + "\n")
    print(json.dumps({"medians": medians, "ratio": ratio}, indent=1))


if __name__ == "__main__":
    main()
