"""Django's own suites, in a process of their own with settings of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ..conformance.upstream import upstream_tests

ROOT = Path(__file__).parent.parent.parent.parent


@pytest.mark.slow
@pytest.mark.parametrize(("cases", "least"), [("cases", 160), ("whole", 350)])
def test_django_cache_and_session_suites_pass_on_ferrokv(tmp_path: Path, cases: str, least: int) -> None:
    environment = {
        **os.environ,
        "FERROKV_DJANGO_TESTS": str(upstream_tests("django")),
        "FERROKV_STORE": str(tmp_path / "store"),
        "DJANGO_SETTINGS_MODULE": "tests.contrib.conformance.settings",
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "django", "test", f"tests.contrib.conformance.{cases}", "--verbosity=1"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    ran = re.search(r"Ran (\d+) tests", done.stderr)
    assert ran is not None
    assert int(ran[1]) >= least, done.stderr
    assert "skipped" not in done.stderr, done.stderr
