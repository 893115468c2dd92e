"""Fuzz the decoders with atheris: `python -m tests.format.fuzz.run TARGET [libFuzzer's options]`, or without a target all in turn.

    pip install -e ".[fuzz]"
    python -m tests.format.fuzz.run --runs 10000000

What is found is written to tests/format/corpus/TARGET/ and belongs there, with the fix, for `tests/format/test_corpus.py`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

CORPUS = Path(__file__).parent.parent / "corpus"


def fuzz(name: str, runs: int, seconds: int) -> None:
    """Run one target in this process, which ends with it."""
    import atheris

    with atheris.instrument_imports(
        include=["ferrokv.local.format", "ferrokv.contrib.codecs.envelopes", "tests.format.fuzz.targets"]
    ):
        from .targets import TARGETS
    from .seeds import make_seeds

    home = CORPUS / name
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as found:
        for i, seed in enumerate(make_seeds().get(name, [])):
            (Path(found) / f"seed-{i}").write_bytes(seed)
        options = [f"-runs={runs}", f"-max_total_time={seconds}", "-max_len=600", "-timeout=20", "-rss_limit_mb=1024"]
        atheris.Setup(
            [sys.argv[0], *options, "-print_final_stats=1", f"-artifact_prefix={home}/", found, str(home)],
            TARGETS[name],
        )
        atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", nargs="?")
    parser.add_argument("--runs", type=int, default=10_000_000)
    parser.add_argument("--seconds", type=int, default=0, help="at most, for each target; 0: no limit")
    given = parser.parse_args()
    if given.target is not None:
        fuzz(given.target, given.runs, given.seconds)
        return 0
    from .targets import TARGETS

    failed = []
    for name in TARGETS:
        command = [
            sys.executable,
            "-m",
            "tests.format.fuzz.run",
            name,
            f"--runs={given.runs}",
            f"--seconds={given.seconds}",
        ]
        ended = subprocess.run(command, stderr=subprocess.PIPE, text=True, errors="replace", check=False)
        lines = ended.stderr.splitlines()
        counted = next((line for line in lines if "number_of_executed_units" in line), "")
        print(name, counted or "\n".join(lines[-25:]), flush=True)
        if ended.returncode:
            failed.append(name)
            print("\n".join(lines[-40:]), flush=True)
    print("failed:", ", ".join(failed) or "none", flush=True)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
