"""dogpile.cache: ferrokv against its file backend, `dogpile.cache.dbm`, and its in-memory one, same keys and values. `make bench`.

µs a call, medians, measured in turn; the ratio is the target that the project set itself. dbm never syncs, ferrokv syncs each
write. Which dbm there is depends on how Python was built: `dbm.dumb` is the slowest.
"""

from __future__ import annotations

import dbm
import json
import platform
import tempfile
from itertools import count
from pathlib import Path

from dogpile.cache import make_region
from in_turn import interleaved

RESULTS = Path(__file__).parent / "results"
VALUE = {"title": "a cached page", "rows": list(range(20))}


def main() -> None:
    with tempfile.TemporaryDirectory(dir=".") as folder:
        regions = {
            "ferrokv": make_region().configure("ferrokv", arguments={"path": f"{folder}/ferrokv"}),
            "dbm": make_region().configure("dogpile.cache.dbm", arguments={"filename": f"{folder}/dbm"}),
            "memory": make_region().configure("dogpile.cache.memory_pickle"),
        }
        many = {f"key:{i}": VALUE for i in range(100)}
        numbers = count()
        for region in regions.values():
            region.set("k", VALUE)
        results = {
            "get_hit": interleaved({n: lambda r=r: r.get("k") for n, r in regions.items()}, 500, 11),
            "get_or_create_hit": interleaved(
                {n: lambda r=r: r.get_or_create("k", dict) for n, r in regions.items()}, 500, 11
            ),
            "get_or_create_miss": interleaved(
                {n: lambda r=r: r.get_or_create(f"miss:{next(numbers)}", dict) for n, r in regions.items()}, 50, 9
            ),
            "set": interleaved({n: lambda r=r: r.set("k", VALUE) for n, r in regions.items()}, 50, 9),
            "set_multi_100": interleaved({n: lambda r=r: r.set_multi(many) for n, r in regions.items()}, 5, 9),
            "get_multi_100": interleaved({n: lambda r=r: r.get_multi(list(many)) for n, r in regions.items()}, 2, 5),
        }
        hit = results["get_hit"]
        ratios = {"dbm / get hit (at least 3)": round(hit["dbm"] / hit["ferrokv"], 3)}
        for name, figures in results.items():
            print(f"{name:20}", "  ".join(f"{kind}={value:,.1f}" for kind, value in figures.items()))
        for name, ratio in ratios.items():
            print(f"{name:40} {ratio:6.2f}")
        RESULTS.mkdir(exist_ok=True)
        kind = dbm.whichdb(f"{folder}/dbm")
        print(f"dbm is {kind}")
        text = json.dumps({"dbm": kind, "python": platform.python_version(), **results, "ratios": ratios}, indent=1)
        (RESULTS / "dogpile_cache.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
