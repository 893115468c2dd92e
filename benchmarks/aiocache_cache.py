"""aiocache: ferrokv against aiocache's in-memory cache and its Redis cache on loopback, same keys and values. `make bench`.

µs a call, medians, measured in turn; the ratios are the targets that the project set itself. redis-server never syncs here, ferrokv
syncs each write.
"""

from __future__ import annotations

import asyncio
import json
import platform
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

from aiocache import Cache, RedisCache, SimpleMemoryCache, cached
from aiocache.serializers import JsonSerializer, PickleSerializer

from ferrokv.contrib.aiocache import FerroKVCache

RESULTS = Path(__file__).parent / "results"
VALUE = {"title": "a cached page", "rows": list(range(20))}
SERIALIZERS: dict[str, Any] = {"json": JsonSerializer, "pickle": PickleSerializer}


@contextmanager
def redis_server(folder: str) -> Any:
    """A server on a free port, ended by its process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--save", ""]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except ConnectionRefusedError:
                    if server.poll() is not None:
                        raise
                    time.sleep(0.02)  # it is just starting, and tells nobody when it is there
            yield port
        finally:
            server.terminate()


async def interleaved(calls: dict[str, Callable[[], Awaitable[Any]]], repeat: int, rounds: int) -> dict[str, float]:
    """Median µs of a call for each, measured in turn."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        await call()
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            for _ in range(repeat):
                await call()
            times[name].append((time.perf_counter() - start) / repeat * 1e6)
    return {name: statistics.median(found) for name, found in times.items()}


def decorated(kind: Any, **options: Any) -> Any:
    @cached(cache=kind, serializer=JsonSerializer(), **options)
    async def work(number: int) -> dict[str, Any]:
        return VALUE

    return work


async def measure(folder: str, port: int | None) -> dict[str, Any]:
    results: dict[str, Any] = {}
    async with AsyncExitStack() as stack:
        for name, serializer in SERIALIZERS.items():
            caches: dict[str, Any] = {
                "ferrokv": FerroKVCache(f"{folder}/ferrokv", namespace=name, serializer=serializer()),
                "memory": Cache(SimpleMemoryCache, namespace=name, serializer=serializer()),
            }
            if port is not None:
                caches["redis"] = RedisCache(endpoint="127.0.0.1", port=port, namespace=name, serializer=serializer())
            for cache in caches.values():
                await stack.enter_async_context(cache)
                await cache.set("k", VALUE)
            results[f"get_hit_{name}"] = await interleaved(
                {key: lambda c=c: c.get("k") for key, c in caches.items()}, 500, 9
            )
            results[f"get_miss_{name}"] = await interleaved(
                {key: lambda c=c: c.get("none") for key, c in caches.items()}, 500, 5
            )
        pairs = [(f"k{i}", VALUE) for i in range(100)]
        results["multi_set_100"] = await interleaved(
            {key: lambda c=c: c.multi_set(pairs) for key, c in caches.items()}, 5, 9
        )
        results["set"] = await interleaved({key: lambda c=c: c.set("k", VALUE) for key, c in caches.items()}, 50, 9)
        functions = {
            "ferrokv": decorated(FerroKVCache, path=f"{folder}/ferrokv", namespace="decorated"),
            "memory": decorated(SimpleMemoryCache, namespace="decorated"),
        }
        results["decorated_hit"] = await interleaved({key: lambda f=f: f(1) for key, f in functions.items()}, 500, 9)
        await functions["ferrokv"].cache.close()
    return results


def main() -> None:
    server = shutil.which("redis-server")
    with tempfile.TemporaryDirectory() as folder:
        if server:
            with redis_server(folder) as port:
                results = asyncio.run(measure(folder, port))
        else:
            results = asyncio.run(measure(folder, None))
    for name, found in results.items():
        print(f"{name:24}", "  ".join(f"{k}={v:,.1f}" for k, v in found.items()))
    ratios = {}
    for name in SERIALIZERS:
        hit = results[f"get_hit_{name}"]
        ratios[f"get hit / memory, {name} (at most 1.3)"] = hit["ferrokv"] / hit["memory"]
        if "redis" in hit:
            ratios[f"redis / get hit, {name} (at least 3)"] = hit["redis"] / hit["ferrokv"]
    for name, ratio in ratios.items():
        print(f"{name:48} {ratio:.2f}")
    results["ratios"] = ratios
    results["python"] = platform.python_version()
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "aiocache_cache.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
