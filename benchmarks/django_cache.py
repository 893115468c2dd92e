"""Django's cache API: ferrokv against LocMemCache and diskcache, same keys and values, interleaved. `make bench`.

diskcache never syncs by default; at `sqlite_synchronous=2` it syncs, as ferrokv always does.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import django
from django.conf import settings

RESULTS = Path(__file__).parent / "results"
VALUE = {"title": "a cached page", "rows": list(range(20))}


def configure(folder: str) -> None:
    disk = {"BACKEND": "diskcache.DjangoCache", "TIMEOUT": 300}
    settings.configure(
        SECRET_KEY="benchmark",
        CACHES={
            "default": {"BACKEND": "ferrokv.contrib.django.FerroKVCache", "LOCATION": f"{folder}/ferrokv"},
            "locmem": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
            "diskcache": {**disk, "LOCATION": f"{folder}/disk"},
            "diskcache_full": {**disk, "LOCATION": f"{folder}/disk2", "OPTIONS": {"sqlite_synchronous": 2}},
        },
    )
    django.setup()


def interleaved(calls: dict[str, Callable[[], Any]], repeat: int, rounds: int) -> dict[str, float]:
    """Median µs of a call for each, measured in turn."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            for _ in range(repeat):
                call()
            times[name].append((time.perf_counter() - start) / repeat * 1e6)
    return {name: statistics.median(found) for name, found in times.items()}


async def native_get(cache: Any, repeat: int, rounds: int) -> float:
    await cache.aset("k", VALUE)
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(repeat):
            await cache.aget("k")
        times.append((time.perf_counter() - start) / repeat * 1e6)
    return statistics.median(times)


def main() -> None:
    with tempfile.TemporaryDirectory(dir=".") as folder:
        configure(folder)
        from django.core.cache import caches

        every = {alias: caches[alias] for alias in settings.CACHES}
        many = {f"key:{i}": VALUE for i in range(100)}
        for cache in every.values():
            cache.set("k", VALUE)
            cache.set("n", 0)
        results = {
            "get_hit": interleaved({a: (lambda c=c: c.get("k")) for a, c in every.items()}, 2_000, 9),
            "set": interleaved({a: (lambda c=c: c.set("k", VALUE)) for a, c in every.items()}, 50, 9),
            "incr": interleaved({a: (lambda c=c: c.incr("n")) for a, c in every.items()}, 50, 9),
            "set_many_100": interleaved({a: (lambda c=c: c.set_many(many)) for a, c in every.items()}, 2, 9),
            "aget_hit": {"default": asyncio.run(native_get(every["default"], 2_000, 9))},
        }
        for name, figures in results.items():
            print(f"{name:14}", "  ".join(f"{alias}={value:,.1f}" for alias, value in figures.items()), "µs")
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "django_cache.json").write_text(json.dumps(results, indent=1) + "\n")
        for alias in ("diskcache", "diskcache_full"):
            every[alias].close()


if __name__ == "__main__":
    main()
