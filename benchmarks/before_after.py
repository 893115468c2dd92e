"""Two source trees against each other: `python benchmarks/before_after.py OLD NEW SUBJECT`. Both need the
same installed libraries; the figures go to results/before_after_SUBJECT.json.

A process of each tree measures what costs CPU and no sync; they take turns, so that a noisy moment meets both. µs a call, medians
of all turns, and the ratio new / old.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
TURNS = 9
CALLS = 3_000
ROUNDS = 9


def timed(call: Callable[[], Any]) -> float:
    """The median µs of a call."""
    found = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(CALLS):
            call()
        found.append((time.perf_counter() - start) / CALLS * 1e6)
    return statistics.median(found)


async def timed_later(call: Callable[[], Any]) -> float:
    """As `timed`, awaiting each call."""
    found = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(CALLS):
            await call()
        found.append((time.perf_counter() - start) / CALLS * 1e6)
    return statistics.median(found)


def measure() -> dict[str, float]:
    """What this tree takes."""
    from aiocache.serializers import NullSerializer
    from django.conf import settings

    folder = tempfile.mkdtemp()
    settings.configure(
        SECRET_KEY="benchmark",
        CACHES={"default": {"BACKEND": "ferrokv.contrib.django.FerroKVCache", "LOCATION": f"{folder}/django"}},
    )
    import django

    django.setup()
    from django.core.cache import cache
    from dogpile.cache import make_region

    from ferrokv import BlockingFerroKV, FerroKV
    from ferrokv.contrib.aiocache import FerroKVCache

    found: dict[str, float] = {}
    region = make_region().configure("ferrokv", arguments={"path": f"{folder}/dogpile"})
    region.set("k", "v")
    cache.set("k", {"rows": list(range(20))})
    with BlockingFerroKV.open(f"{folder}/engine") as db:
        db.set("k", "v")
        db.rpush("l", "a", "b")
        names = [f"k{i}" for i in range(10)]
        db.mset(dict.fromkeys(names, "v"))
        found["get"] = timed(lambda: db.get("k"))
        found["get, missing"] = timed(lambda: db.get("missing"))
        found["mget of 10"] = timed(lambda: db.mget(names))
        found["lrange"] = timed(lambda: db.lrange("l", 0, -1))
        with db.deferral() as deferral:
            within = db.within(deferral)
            within.set("other", 1)
            found["get in a deferral"] = timed(lambda: within.get("k"))
            found["lrange in a deferral"] = timed(lambda: within.lrange("l", 0, -1))
    found["Django get"] = timed(lambda: cache.get("k"))
    found["Django get, missing"] = timed(lambda: cache.get("missing"))
    found["Django get_many"] = timed(lambda: cache.get_many(["k", "missing"]))
    found["dogpile get"] = timed(lambda: region.get("k"))

    async def later() -> None:
        async with FerroKV.open(f"{folder}/engine") as db:
            found["asyncio get"] = await timed_later(lambda: db.get("k"))
            found["asyncio mget of 10"] = await timed_later(lambda: db.mget(names))
        found["Django aget"] = await timed_later(lambda: cache.aget("k"))
        async with FerroKVCache(f"{folder}/aiocache", serializer=NullSerializer()) as one:
            await one.set("k", b"v")
            found["aiocache get"] = await timed_later(lambda: one.get("k"))

    asyncio.run(later())
    return found


def main(old: str, new: str, subject: str) -> None:
    """Measure in turn, print, and keep the figures."""
    times: dict[str, dict[str, list[float]]] = {"old": {}, "new": {}}
    for turn in range(TURNS):
        for name, tree in (("old", old), ("new", new)) if turn % 2 else (("new", new), ("old", old)):
            done = subprocess.run(
                [sys.executable, __file__, "--measure"],
                env={**os.environ, "PYTHONPATH": os.path.abspath(tree)},
                capture_output=True,
                text=True,
                check=True,
            )
            for row, value in json.loads(done.stdout).items():
                times[name].setdefault(row, []).append(value)
    rows = {}
    for row in times["new"]:
        before, after = (statistics.median(times[name][row]) for name in ("old", "new"))
        rows[row] = {"old_us": round(before, 2), "new_us": round(after, 2), "ratio": round(after / before, 3)}
        print(f"{row:24} {before:8.2f} {after:8.2f} {after / before:6.3f}")
    machine = {"python": platform.python_version(), "cpus": os.cpu_count(), "system": platform.platform()}
    (RESULTS / f"before_after_{subject}.json").write_text(
        json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n"
    )


if __name__ == "__main__":
    if sys.argv[1:] == ["--measure"]:
        json.dump(measure(), sys.stdout)
    else:
        main(*sys.argv[1:])
