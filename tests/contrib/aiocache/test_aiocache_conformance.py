"""aiocache's own acceptance tests, from its sdist, with our backend as the cache that they are run on.

Whatever the suite runs on any cache has to pass; conformance/aiocache_fixtures.py says what is left out.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ...conftest import ROOT
from ..conformance.upstream import upstream_tests

FIXTURES = Path(__file__).parent.parent / "conformance" / "aiocache_fixtures.py"


@pytest.mark.slow
def test_the_acceptance_tests_of_aiocache_pass_on_ferrokv(tmp_path: Path) -> None:
    suite = tmp_path / "upstream"
    shutil.copytree(upstream_tests("aiocache"), suite / "tests", ignore=shutil.ignore_patterns("ut", "performance"))
    shutil.copy(FIXTURES, suite / "tests" / "acceptance" / "conftest.py")
    (suite / "pytest.ini").write_text(
        "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\nmarkers =\n    redis\n    memcached\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/acceptance"]
    done = subprocess.run(
        command,
        cwd=suite,
        env={**os.environ, "PYTHONPATH": str(ROOT), "FERROKV_STORE": str(tmp_path / "store")},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) >= 100, done.stdout
    assert "skipped" not in done.stdout
