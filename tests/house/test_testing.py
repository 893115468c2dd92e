"""What `ferrokv.testing` gives to the tests of other programs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from .test_architecture import ROOT

CONFTEST = """
from django.conf import settings

pytest_plugins = ["ferrokv.testing.fixtures"]
settings.configure(SECRET_KEY="program")
"""
TESTS = """
import pytest
from django.core.cache import cache, caches
from ferrokv import BlockingFerroKV, FerroKV


@pytest.mark.parametrize("again", range(2))
def test_a_store_is_new(ferrokv_store, again):
    assert ferrokv_store.dbsize() == 0
    ferrokv_store.set("k", again)


@pytest.mark.parametrize("again", range(2))
def test_a_cache_is_new(ferrokv_django_cache, ferrokv_path, again):
    assert cache.get("k") is None
    cache.set("k", again)
    assert ferrokv_django_cache.get("k") == again
    assert cache.get_or_set("t", lambda: 1, tags=["x"]) == 1
    assert ferrokv_path.is_dir()


async def use(path):
    async with FerroKV.open(path) as db:
        await db.set("k", 1)


def test_a_path_is_there_for_whatever_opens_it(ferrokv_path):
    import asyncio

    assert not ferrokv_path.exists()
    asyncio.run(use(ferrokv_path))
    with BlockingFerroKV.open(ferrokv_path) as db:
        assert db.get("k") == b"1"


def test_nothing_is_left_of_the_tests_before():
    import threading

    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ferrokv")]
    with pytest.raises(Exception):
        caches["default"].tags
"""


def test_the_fixtures_serve_another_programs_tests(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_program.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio", "-W", "error", "."]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("PYTEST_ADDOPTS", None)
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 passed" in done.stdout
