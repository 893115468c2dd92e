"""Django's cache API: ferrokv against LocMemCache and diskcache, same keys and values, interleaved. `make bench`.

µs a call, medians; the ratios are the targets that the project set itself.

diskcache never syncs by default; at `sqlite_synchronous=2` it syncs, as ferrokv always does.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import django
from django.conf import settings
from in_turn import interleaved

RESULTS = Path(__file__).parent / "results"
KEY = "country:FR"
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


async def native_hits(cache: Any, repeat: int, rounds: int) -> dict[str, float]:
    """`get` and `await aget` of the same hit, in turn, on an event loop."""
    times: dict[str, list[float]] = {"get": [], "aget": []}
    await cache.aget(KEY)
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(repeat):
            cache.get(KEY)
        middle = time.perf_counter()
        for _ in range(repeat):
            await cache.aget(KEY)
        times["get"].append((middle - start) / repeat * 1e6)
        times["aget"].append((time.perf_counter() - middle) / repeat * 1e6)
    return {name: statistics.median(found) for name, found in times.items()}


def durable_set(cache: Any, folder: str, writes: int) -> dict[str, float]:
    """A bare pwrite+fdatasync of as many bytes on a preallocated file against `cache.set`, in turn."""
    fd = os.open(f"{folder}/bare", os.O_CREAT | os.O_RDWR)
    os.posix_fallocate(fd, 0, 8 << 20)
    os.fsync(fd)
    data = os.urandom(len(cache._codec.encode(VALUE)) + len(KEY) + 60)
    times: dict[str, list[float]] = {"bare": [], "set": []}
    for i in range(writes):
        start = time.perf_counter()
        os.pwrite(fd, data, i * len(data))
        os.fdatasync(fd)
        middle = time.perf_counter()
        cache.set(KEY, VALUE)
        times["bare"].append((middle - start) * 1e6)
        times["set"].append((time.perf_counter() - middle) * 1e6)
    os.close(fd)
    return {name: statistics.median(found) for name, found in times.items()}


def pipelined_set(cache: Any, rounds: int) -> dict[str, float]:
    """One `set`, and a block of ten of them, in turn."""
    times: dict[str, list[float]] = {"single_set": [], "block_of_ten": []}
    for _ in range(rounds):
        start = time.perf_counter()
        cache.set(KEY, VALUE)
        middle = time.perf_counter()
        with cache.pipelined():
            for i in range(10):
                cache.set(f"key:{i}", VALUE)
        times["single_set"].append((middle - start) * 1e6)
        times["block_of_ten"].append((time.perf_counter() - middle) * 1e6)
    return {name: statistics.median(found) for name, found in times.items()}


def threads_setting(caches: Any, aliases: list[str], threads: int, writes: int, rounds: int) -> dict[str, float]:
    """Sets a second of so many threads together, each with its own cache object, in turn."""
    rates: dict[str, list[float]] = {alias: [] for alias in aliases}
    for _ in range(rounds):
        for alias in aliases:
            ready = threading.Barrier(threads + 1)

            def work(number: int, alias: str = alias, ready: threading.Barrier = ready) -> None:
                cache = caches[alias]
                ready.wait()
                for i in range(writes):
                    cache.set(f"{number}:{i % 50}", VALUE)
                cache.close()

            started = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
            for thread in started:
                thread.start()
            ready.wait()
            start = time.perf_counter()
            for thread in started:
                thread.join()
            rates[alias].append(threads * writes / (time.perf_counter() - start))
    return {alias: statistics.median(found) for alias, found in rates.items()}


def main() -> None:
    with tempfile.TemporaryDirectory(dir=".") as folder:
        configure(folder)
        from django.core.cache import caches

        every = {alias: caches[alias] for alias in settings.CACHES}
        many = {f"key:{i}": VALUE for i in range(100)}
        for cache in every.values():
            cache.set(KEY, VALUE)
            cache.set("n", 0)
        ours = every["default"]
        results = {
            "get_hit": interleaved({a: (lambda c=c: c.get(KEY)) for a, c in every.items()}, 2_000, 15),
            "set": interleaved({a: (lambda c=c: c.set(KEY, VALUE)) for a, c in every.items()}, 50, 9),
            "incr": interleaved({a: (lambda c=c: c.incr("n")) for a, c in every.items()}, 50, 9),
            "set_many_100": interleaved({a: (lambda c=c: c.set_many(many)) for a, c in every.items()}, 2, 9),
            "hit_on_a_loop": asyncio.run(native_hits(ours, 2_000, 15)),
            "durable_set": durable_set(ours, folder, 1_500),
            "pipelined": pipelined_set(ours, 300),
            "sets_a_second_of_8_threads": threads_setting(caches, ["default", "diskcache_full"], 8, 40, 5),
        }
        ratios = {
            "get_hit / locmem (at most 1)": _ratio(results["get_hit"], "default", "locmem"),
            "diskcache / get_hit (at least 2.5)": _ratio(results["get_hit"], "diskcache", "default"),
            "aget / get (at most 1.5)": _ratio(results["hit_on_a_loop"], "aget", "get"),
            "set / bare (at most 1.35)": _ratio(results["durable_set"], "set", "bare"),
            "8 threads / diskcache_full (at least 5)": _ratio(
                results["sets_a_second_of_8_threads"], "default", "diskcache_full"
            ),
            "diskcache_full / set_many_100 (at least 20)": _ratio(results["set_many_100"], "diskcache_full", "default"),
            "ten sets pipelined / one set (at most 3)": _ratio(results["pipelined"], "block_of_ten", "single_set"),
        }
        for name, figures in results.items():
            print(f"{name:28}", "  ".join(f"{alias}={value:,.1f}" for alias, value in figures.items()))
        for name, ratio in ratios.items():
            print(f"{name:46} {ratio:6.2f}")
        RESULTS.mkdir(exist_ok=True)
        about = {"python": platform.python_version(), "django": django.get_version(), "cpus": os.cpu_count()}
        text = json.dumps({"about": about, **results, "ratios": ratios}, indent=1)
        (RESULTS / "django_cache.json").write_text(text + "\n")
        for alias in ("diskcache", "diskcache_full"):
            every[alias].close()


def _ratio(figures: dict[str, float], one: str, other: str) -> float:
    return round(figures[one] / figures[other], 3)


if __name__ == "__main__":
    main()
