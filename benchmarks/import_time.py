"""How long imports take: the package alone, one handle, and what the standard library takes of it.

`python benchmarks/import_time.py [--runs 15]` starts an interpreter for each run, with bytecode that is cached, and prints the
least and the median milliseconds of processor time. The figures go to benchmarks/results/import_time.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "import_time.json"
STATEMENTS = (
    "import typing",
    "import logging",
    "import asyncio",
    "import ferrokv",
    "from ferrokv import StoreBusy",
    "from ferrokv import BlockingFerroKV",
    "from ferrokv import FerroKV",
)
PROGRAM = "import time; t = time.process_time(); {}; print((time.process_time() - t) * 1e3)"


def main() -> None:
    """Measure in turn, so that a noisy moment meets every statement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=15)
    runs = parser.parse_args().runs
    found: dict[str, list[float]] = {statement: [] for statement in STATEMENTS}
    with tempfile.TemporaryDirectory() as cached:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment |= {"PYTHONPYCACHEPREFIX": cached}
        for run in range(runs + 1):
            for statement in STATEMENTS:
                command = [sys.executable, "-c", PROGRAM.format(statement)]
                said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
                if run:  # the first one compiles
                    found[statement].append(float(said))
    rows = {
        statement: {"least_ms": round(min(times), 1), "median_ms": round(statistics.median(times), 1)}
        for statement, times in found.items()
    }
    print(json.dumps(rows, indent=1))
    RESULTS.write_text(json.dumps({"python": platform.python_version(), "runs": runs, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
