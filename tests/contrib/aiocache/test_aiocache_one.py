"""The tests of the aiocache backend on aiocache's 1.0 line, in a process of its own.

1.0 is not released, so its base class and decorators are a stand-in written from its contract. With FERROKV_AIOCACHE_ONE set to a
checkout of aiocache's repository, that is taken instead.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ...conftest import ROOT

STAND_IN = Path(__file__).parent.parent.parent / "support" / "stand_ins" / "aiocache_one"


@pytest.mark.slow
def test_the_same_class_works_on_the_1_0_line() -> None:
    source = os.environ.get("FERROKV_AIOCACHE_ONE", str(STAND_IN))
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "tests/contrib/aiocache/test_aiocache.py",
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((source, str(ROOT)))}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) >= 40, done.stdout
    assert "skipped" not in done.stdout
