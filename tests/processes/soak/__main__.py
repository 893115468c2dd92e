"""`python -m tests.processes.soak --minutes 30 --seed 1`: one run, and its summary as JSON.

The exit code is 1 if anything was wrong.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
from pathlib import Path
from random import SystemRandom

from .director import Director, Disk
from .ending import look_behind
from .oracle import Oracle

RESULTS = Path(__file__).parent.parent.parent.parent / "benchmarks/results/soak.json"


def main() -> int:
    parser = argparse.ArgumentParser(
        description="processes of all kinds on one directory, and everything that can happen to them"
    )
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=SystemRandom().randrange(1 << 32))
    parser.add_argument("--result", type=Path, default=RESULTS)
    given = parser.parse_args()
    print(f"seed {given.seed}, {given.minutes:g} minutes", flush=True)
    with tempfile.TemporaryDirectory(prefix="ferrokv-soak-") as base:
        summary = soak(Path(base), given.minutes * 60, given.seed)
    given.result.write_text(json.dumps(summary, indent=1) + "\n")
    print(json.dumps(summary, indent=1))
    return 1 if summary["violations"] else 0


def soak(base: Path, seconds: float, seed: int) -> dict[str, object]:
    """What one run did and found."""
    began = time.monotonic()
    oracle, disk = Oracle(), Disk(base)
    disk.mount()
    director = Director(base, seed, oracle, disk)
    try:
        director.run(seconds)
        ending = look_behind(director, oracle)
    finally:
        disk.unmount()
    return {
        "command": f"make soak MINUTES={seconds / 60:g} SEED={seed}",
        "python": platform.python_version(),
        "disk": "ext4 on a loop device" if director.disk.mounted else "a limit in the workers",
        "minutes": round((time.monotonic() - began) / 60, 1),
        "actions": dict(director.done),
        "processes": sum(slot.generation + 1 for slot in director.slots),
        "operations": dict(oracle.operations),
        "errors_by_name": dict(oracle.errors),
        "ends": dict(oracle.ends),
        "logged_errors": dict(oracle.logged),
        "locks_held": oracle.locks_held(),
        "hour_keys_lost": oracle.hour_keys_lost,
        **ending,
        "violations": oracle.violations[:50],
        "violations_in_all": len(oracle.violations),
    }


if __name__ == "__main__":
    sys.exit(main())
