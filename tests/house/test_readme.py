"""The examples of the README and of docstrings run, in a folder of their own."""

from __future__ import annotations

import doctest
import os
from pathlib import Path
from typing import Any

import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

import ferrokv.contract.batch

from ..support.django_setup import configured

ROOT = Path(__file__).parent.parent.parent


def test_the_examples_of_the_readme_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    document = Sybil(parsers=[PythonCodeBlockParser()], path=str(ROOT), pattern="README.md").parse(ROOT / "README.md")
    document.namespace["BASE_DIR"] = tmp_path
    with configured(tmp_path / "cache"):
        _run(document)
    shown = capsys.readouterr().out
    assert "Visits: 1" in shown
    assert "b'colour:2' b'blue'" in shown
    assert sorted(os.listdir(tmp_path)) == ["cache", "data"]


def _run(document: Any) -> None:
    examples = list(document.examples())
    for example in examples:
        example.evaluate()
    assert len(examples) == 7


def test_doctests() -> None:
    assert doctest.testmod(ferrokv.contract.batch).failed == 0
