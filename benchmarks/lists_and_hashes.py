"""What lists, hashes and transactions cost, and what length has to do with it. Run: `python benchmarks/lists_and_hashes.py`.

Prints a table and writes `benchmarks/results/lists_and_hashes.json`. Each pair is measured in turn within one run; compare ratios.
"""

from __future__ import annotations

import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ferrokv import BlockingFerroKV

RESULTS = Path(__file__).parent / "results"
LONG = 1_000_000


def in_turn(functions: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median µs of each, called one after the other in each round."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(found) * 1e6 for name, found in times.items()}


def main() -> None:
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(dir=".") as folder, BlockingFerroKV.open(f"{folder}/store") as db:
        element = b"e" * 50
        db.rpush("short", *[element] * 10)
        for _ in range(LONG // 10_000):
            db.rpush("long", *[element] * 10_000)
        db.flush()

        def push_and_pop(name: str) -> None:
            db.rpush(name, element)
            db.lpop(name)

        found = in_turn({"short": lambda: push_and_pop("short"), "long": lambda: push_and_pop("long")}, 500)
        figures["push_pop_short_us"], figures["push_pop_long_us"] = found["short"], found["long"]
        figures["push_pop_ratio"] = found["long"] / found["short"]
        found = in_turn(
            {"short": lambda: db.lrange("short", 0, 9), "long": lambda: db.lrange("long", 500_000, 500_009)}, 500
        )
        figures["lrange_10_short_us"], figures["lrange_10_in_the_middle_of_long_us"] = found["short"], found["long"]

        db.hset("hash", mapping={f"field:{i}": element for i in range(100)})
        figures["hgetall_100_us"] = in_turn({"hgetall": lambda: db.hgetall("hash")}, 2000)["hgetall"]
        figures["hget_us"] = in_turn({"hget": lambda: db.hget("hash", "field:50")}, 2000)["hget"]

        def hundred() -> None:
            db.transaction(lambda tx: [tx.set(f"t:{i}", element) for i in range(100)])

        found = in_turn({"set": lambda: db.set("t", element), "hundred": hundred}, 300)
        figures["set_us"], figures["transaction_of_100_sets_us"] = found["set"], found["hundred"]

        for i in range(200):
            pipe = db.pipeline()
            for n in range(1000):
                pipe.set(f"many:{i:03}:{n:03}", element)
            pipe.execute()
        db.compact()
        start = time.perf_counter()
        assert db.delete_range(prefix="many:050:") == 1000
        figures["delete_range_of_1000_in_200000_ms"] = (time.perf_counter() - start) * 1e3
        before = db.stats()
        start = time.perf_counter()
        db.delete("long")
        figures["delete_list_of_a_million_us"] = (time.perf_counter() - start) * 1e6
        figures["records_written_by_that"] = db.stats().records_written - before.records_written
        bytes_before = sum(level.bytes for level in before.levels)
        db.compact()
        figures["bytes_left_after_compact"] = sum(level.bytes for level in db.stats().levels) / bytes_before
    for name, figure in figures.items():
        print(f"{name:40} {figure:12.2f}")
    RESULTS.mkdir(exist_ok=True)
    head = {"python": platform.python_version(), "machine": platform.machine(), "command": " ".join(sys.argv)}
    (RESULTS / "lists_and_hashes.json").write_text(json.dumps(head | figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
