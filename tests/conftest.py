"""Fixtures that several modules use."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ferrokv import BlockingFerroKV

ROOT = Path(__file__).parent.parent


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
