"""docs/aiocache.md and docs/sqlalchemy.md name what there is, and their code runs."""

from __future__ import annotations

import asyncio
import inspect
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from aiocache import caches
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

from ferrokv.contrib.aiocache import FerroKVCache
from ferrokv.contrib.dogpile import backend

from ..conftest import ROOT
from ..support.site import SITE

DOCS = ROOT / "docs"


def run(page: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the code of the page leaves behind, run in a folder of its own."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [*sys.path, str(SITE)])
    document = Sybil(parsers=[PythonCodeBlockParser()], path=str(DOCS), pattern=page).parse(DOCS / page)
    for example in document.examples():
        example.evaluate()
    return dict(document.namespace)


def arguments(page: str) -> set[str]:
    """The names in the first column of the table of arguments."""
    text = (DOCS / page).read_text()
    rows = text[text.index("| argument |") :].split("\n\n")[0].splitlines()
    return {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}


def test_the_code_of_the_aiocache_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caches, "_config", caches.get_config())
    monkeypatch.setattr(caches, "_caches", {})
    found = run("aiocache.md", tmp_path, monkeypatch)

    async def use() -> None:
        assert await found["forecast"]("Nice") == {"city": "Nice", "sky": "clear"}
        assert await found["report"]() == [1, 2, 3]
        assert isinstance(caches.get("default"), FerroKVCache)
        assert await found["forecast"].cache.exists("none") is False
        for function in (found["forecast"], found["report"]):
            await function.cache.close()

    asyncio.run(use())
    assert (tmp_path / "cache").is_dir()


def test_the_code_of_the_sqlalchemy_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = run("sqlalchemy.md", tmp_path, monkeypatch)
    assert found["population"]("FR") == found["population"]("FR") == 68
    assert found["towns"] == []
    found["engine"].dispose()


def test_every_argument_is_described() -> None:
    parameters = set(inspect.signature(FerroKVCache).parameters) - {"self", "options", "kwargs"}
    assert arguments("aiocache.md") >= parameters
    source = inspect.getsource(backend)
    assert arguments("sqlalchemy.md") >= set(re.findall(r'given\.pop\("(\w+)"', source))
