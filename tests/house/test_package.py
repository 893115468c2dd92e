"""The package as a whole: its public names, and what importing one of them costs the rest of the process."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import get_type_hints

import pytest

import ferrokv
from ferrokv.options import OpenOptions, Options


def modules_after(statement: str) -> set[str]:
    """Which modules a new interpreter has after a statement."""
    program = f"{statement}; import sys; print(*sys.modules)"
    return set(
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    )


def test_dir_shows_the_public_names_and_each_can_be_had() -> None:
    assert dir(ferrokv) == sorted(ferrokv.__all__)
    for name in ferrokv.__all__:
        assert getattr(ferrokv, name).__name__ == name
    assert set(ferrokv._HOME_OF) == set(ferrokv.__all__)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Client'"):
        _ = ferrokv.Client


def test_importing_the_package_or_an_error_brings_no_engine() -> None:
    for statement in ("import ferrokv", "from ferrokv import StoreBusy, Options"):
        found = modules_after(statement)
        assert not found & {"asyncio", "logging", "threading", "xxhash", "ferrokv.local"}, statement


def test_threads_need_no_asyncio() -> None:
    found = modules_after("from ferrokv import BlockingFerroKV")
    assert "ferrokv.local.runtime.writer" in found
    assert not found & {"asyncio", "ferrokv.local.api", "ferrokv.local.faces.pipelines", "ferrokv.local.upkeep.verify"}


def test_the_keywords_of_open_are_the_options() -> None:
    hints = get_type_hints(OpenOptions)
    assert hints == get_type_hints(Options)
    assert list(hints) == list(Options._fields)


def test_type_checkers_know_every_public_name() -> None:
    """A name that only `__getattr__` finds would be Any to them."""
    tree = ast.parse(Path(ferrokv.__file__).read_text(encoding="utf-8"))
    known = {
        alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level for alias in node.names
    }
    assert set(ferrokv.__all__) <= known
