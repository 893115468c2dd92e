"""What waiting costs: idle waiters, the way from a push to its waiter, and a write with and without anybody who waits.

`python benchmarks/waiting.py [seconds]` writes benchmarks/results/waiting.json. Ways are counted from the return of the push to the
return of the pop, by the clock that all processes share. Costs of a write are those of the wake-up alone, without the commit,
since a commit varies by more than they come to; and those of whole durable writes, in turn.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import platform
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from in_turn import interleaved

from ferrokv import BlockingFerroKV, FerroKV
from ferrokv.local.engine.wakeups import wake_waiting

WAITERS = 1_000
PUSHES = 300
GAP_SECONDS = 0.003


def cpu_seconds() -> float:
    """Of this process."""
    return time.process_time()


async def idle(path: str, seconds: float) -> dict[str, float]:
    """CPU seconds of a process with so many tasks that wait for so many keys, and with none; and one push among them."""
    async with FerroKV.open(path) as db:
        await db.set("warm", 1)
        began = cpu_seconds()
        await asyncio.sleep(seconds)
        nobody = cpu_seconds() - began
        tasks = [asyncio.create_task(db.blpop(f"idle:{i}")) for i in range(WAITERS)]
        await asyncio.sleep(1)
        began = cpu_seconds()
        await asyncio.sleep(seconds)
        used = cpu_seconds() - began
        ways = []
        for i in range(0, WAITERS, 10):
            at = time.monotonic()
            await db.rpush(f"idle:{i}", b"x")
            await tasks[i]
            ways.append(time.monotonic() - at)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return {
        "seconds": seconds,
        "cpu_seconds_nobody_waits": nobody,
        "cpu_seconds_waiters": used,
        "push_and_pop_among_waiters_ms": statistics.median(ways) * 1e3,
    }


async def one_key(path: str) -> dict[str, float]:
    """A thousand tasks wait for one list: seconds of one push to its pop, and until a thousand pushed at once are all popped."""
    async with FerroKV.open(path) as db:
        tasks = [asyncio.create_task(db.blpop("one")) for _ in range(WAITERS)]
        await asyncio.sleep(1)
        began, cpu = time.monotonic(), cpu_seconds()
        await db.rpush("one", b"x")
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        first, first_cpu = time.monotonic() - began, cpu_seconds() - cpu
        began = time.monotonic()
        await db.rpush("one", *[b"x"] * (WAITERS - 1))
        await asyncio.gather(*tasks)
        return {
            "one_push_ms": first * 1e3,
            "one_push_cpu_ms": first_cpu * 1e3,
            "all_pushed_ms": (time.monotonic() - began) * 1e3,
        }


def pop_in_process(path: str, name: str, ready: Any, results: Any) -> None:
    """The other process: pop, and say when."""
    with BlockingFerroKV.open(path) as db:
        ready.set()
        for _ in range(PUSHES):
            db.blpop(name)
            results.put(time.monotonic())


def ways_across_processes(path: str) -> list[float]:
    """Seconds from the return of a push to the return of the pop in another process."""
    context = multiprocessing.get_context("spawn")
    ready, results = context.Event(), context.Queue()
    other = context.Process(target=pop_in_process, args=(path, "across", ready, results))
    other.start()
    ready.wait()
    ways = []
    with BlockingFerroKV.open(path) as db:
        time.sleep(0.2)
        for _ in range(PUSHES):
            db.rpush("across", b"x")
            pushed = time.monotonic()
            ways.append(results.get() - pushed)
            time.sleep(GAP_SECONDS)
    other.join()
    return ways


def ways_across_threads(path: str) -> list[float]:
    """The same, to a thread of the same process."""
    ways: list[float] = []
    popped = threading.Semaphore(0)
    at: list[float] = []
    with BlockingFerroKV.open(path) as db:

        def pop() -> None:
            for _ in range(PUSHES):
                db.blpop("threads")
                at.append(time.monotonic())
                popped.release()

        thread = threading.Thread(target=pop)
        thread.start()
        for _ in range(PUSHES):
            time.sleep(GAP_SECONDS)
            db.rpush("threads", b"x")
            pushed = time.monotonic()
            popped.acquire()
            ways.append(at[-1] - pushed)
        thread.join()
    return ways


async def ways_across_tasks(path: str) -> list[float]:
    """The same, to a task of the same event loop."""
    ways: list[float] = []
    async with FerroKV.open(path) as db:

        async def pop() -> float:
            await db.blpop("tasks")
            return time.monotonic()

        for _ in range(PUSHES):
            task = asyncio.create_task(pop())
            await asyncio.sleep(GAP_SECONDS)
            await db.rpush("tasks", b"x")
            pushed = time.monotonic()
            ways.append(await task - pushed)
    return ways


def wait_in_process(path: str, ready: Any, end: Any) -> None:
    """The other process: somebody waits for a key that nobody writes."""
    with BlockingFerroKV.open(path) as db:
        waiting = threading.Thread(target=lambda: db.blpop("nothing"), daemon=True)
        waiting.start()
        time.sleep(0.2)
        ready.set()
        end.wait()
        db.rpush("nothing", b"x")
        waiting.join()


def cost_of_a_write(path: str, waits: str) -> dict[str, float]:
    """µs of the wake-up and of a whole durable write; `waits` says who waits for another key."""
    context = multiprocessing.get_context("spawn")
    ready, end = context.Event(), context.Event()
    other = context.Process(target=wait_in_process, args=(path, ready, end)) if waits == "another process" else None
    if other is not None:
        other.start()
        ready.wait()
    with BlockingFerroKV.open(path) as db:
        db.set("k", b"v")
        own = threading.Thread(target=lambda: db.blpop("own"))
        if waits == "this process":
            own.start()
            time.sleep(0.2)
        engine = db._store.engine
        calls: dict[str, Callable[[], Any]] = {
            "wake_us": lambda: wake_waiting(engine),
            "durable_set_us": lambda: db.set("k", b"v"),
        }
        found = interleaved(calls, 20, 60)
        # One wake-up, of somebody who sleeps: the pause lets the other process fall asleep again.
        slow = []
        for _ in range(100):
            time.sleep(GAP_SECONDS)
            began = time.perf_counter()
            wake_waiting(engine)
            slow.append((time.perf_counter() - began) * 1e6)
        found["wake_after_a_pause_us"] = statistics.median(slow)
        if waits == "this process":
            db.rpush("own", b"x")
            own.join()
    if other is not None:
        end.set()
        other.join()
    return found


def summary(ways: list[float]) -> dict[str, float]:
    """Of the ways, in ms."""
    ordered = sorted(ways)
    return {
        "median_ms": statistics.median(ordered) * 1e3,
        "p90_ms": ordered[len(ordered) * 9 // 10] * 1e3,
        "max_ms": ordered[-1] * 1e3,
    }


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as parent:
        path = os.path.join(parent, "store")
        result = {
            "python": platform.python_version(),
            "cores": os.cpu_count(),
            "waiters": WAITERS,
            "idle": asyncio.run(idle(path, seconds)),
            "one_key": asyncio.run(one_key(path)),
            "across_processes": summary(ways_across_processes(path)),
            "across_threads": summary(ways_across_threads(path)),
            "across_tasks": summary(asyncio.run(ways_across_tasks(path))),
            "write": {waits: cost_of_a_write(path, waits) for waits in ("nobody", "this process", "another process")},
        }
    print(json.dumps(result, indent=1))
    out = Path(__file__).parent / "results" / "waiting.json"
    out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
