"""Fixtures that several modules use."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from ferrokv import BlockingFerroKV
from ferrokv.local import api
from ferrokv.local.faces import unopened
from ferrokv.local.runtime.registry import open_store
from ferrokv.local.storage.local import LocalStorage
from ferrokv.local.storage.requests import Sync

from .support.harness import ManualClock

ROOT = Path(__file__).parent.parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the forks by C code first, while a test process has few threads that could be in the interpreter at the fork.

    Stores that other tests leave open have two threads each, and a child that is forked in the wrong moment hangs before it has
    run a line of ours.
    """
    items.sort(key=lambda item: item.path.name != "test_forks.py")


# A machine with other work to do stalls for longer than any of these limits.
settings.register_profile("ferrokv", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ferrokv")


@pytest.fixture
def store_path(tmp_path: Path) -> Path:
    """A directory that does not exist yet."""
    return tmp_path / "store"


@pytest.fixture
def db(store_path: Path) -> Iterator[BlockingFerroKV]:
    """An open store."""
    with BlockingFerroKV.open(store_path) as handle:
        yield handle


@pytest.fixture
def syncs(monkeypatch: pytest.MonkeyPatch) -> list[Sync]:
    """Every sync of file content from now on, but for the reserve's."""
    seen: list[Sync] = []
    perform = LocalStorage.perform

    def noting(self: LocalStorage, request: Any) -> Any:
        if isinstance(request, Sync) and not request.file.name.startswith("reserve"):
            seen.append(request)
        return perform(self, request)

    monkeypatch.setattr(LocalStorage, "perform", noting)
    return seen


@pytest.fixture
def standing_clock(monkeypatch: pytest.MonkeyPatch) -> int:
    """The time, in ms since 1970, at which the clocks of stores that are opened from now on stand still: TTLs are exact."""
    now = time.time_ns() // 1_000_000
    monkeypatch.setattr("ferrokv.local.runtime.store.SystemClock", lambda: ManualClock(now))
    return now


@pytest.fixture
def openings(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The path of every first use, and of every opening of an event loop, from now on. They take their time."""
    seen: list[Any] = []

    def slow(path: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append(path)
        time.sleep(0.05)
        return open_store(path, *args, **kwargs)

    monkeypatch.setattr(api, "open_store", slow)
    monkeypatch.setattr(unopened, "open_store", slow)
    return seen


@pytest.fixture
def run_python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a program in a process of its own; its output, whatever its exit code."""

    def run(program: str, *arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", program, *arguments],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), str(ROOT))))},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run
