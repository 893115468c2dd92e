"""The types that a program sees: strict mypy and pyright on one that is right, and on mistakes that they have to find."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from .test_architecture import ROOT

PROGRAMS = [Path(__file__).parent / name for name in ("typed_program.py", "typed_django.py")]
MISTAKES = """
from ferrokv import BlockingFerroKV, FerroKV

with BlockingFerroKV.open("store", memtable_byte=5) as db:  # line 4
    wrong: str = db.incr("n")  # line 5
    db.lpop("l", 2).append(b"x")  # line 6
    db.zrange("z", 0, -1)[0][0].decode()  # line 7
    db.expire("k")  # line 8


async def later() -> bytes:
    async with FerroKV.open("store", busy_timeout="5") as db:  # line 12
        return await db.get("k")  # line 13
"""


def mypy(program: Path, cache: Path) -> str:
    """What it says of a program that has ferrokv installed."""
    options = ["--strict", "--config-file", os.devnull, "--follow-imports", "silent", "--cache-dir", str(cache)]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, str(program)],
        env={**os.environ, "MYPYPATH": str(ROOT)},
        cwd=cache.parent,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout


def pyright(program: Path, folder: Path) -> list[int]:
    """The lines in which it finds an error, in its strict mode."""
    settings = {"include": [str(program)], "typeCheckingMode": "strict", "extraPaths": [str(ROOT)]}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "basedpyright", "--outputjson", "-p", str(folder), "--pythonpath", sys.executable]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found = json.loads(done.stdout)["generalDiagnostics"]
    return [one["range"]["start"]["line"] + 1 for one in found if one["severity"] == "error"]


@pytest.mark.slow
def test_pyright_agrees(tmp_path: Path) -> None:
    for program in PROGRAMS:
        assert pyright(program, tmp_path) == [], program
    mistaken = tmp_path / "mistaken.py"
    mistaken.write_text(MISTAKES)
    assert {4, 5, 6, 7, 8, 12, 13} <= set(pyright(mistaken, tmp_path))


@pytest.mark.slow
def test_answers_have_types_and_mistakes_are_found(tmp_path: Path) -> None:
    for program in PROGRAMS:
        assert "Success" in (said := mypy(program, tmp_path / "cache")), said
    mistaken = tmp_path / "mistaken.py"
    mistaken.write_text(MISTAKES)
    lines = {int(line.split(":")[1]) for line in mypy(mistaken, tmp_path / "cache").splitlines() if ": error:" in line}
    assert lines == {4, 5, 6, 7, 8, 12, 13}


def test_the_adapters_type_every_store() -> None:
    """What is foreign to ferrokv may be Any: values, keys and arguments of the other library. A store may not."""
    stores = {"db", "store", "handle", "locks", "users", "tags", "tx", "deferral", "lock"}
    untyped = []
    for path in sorted((ROOT / "ferrokv" / "contrib").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.arg)
                and node.arg in stores
                and ast.unparse(node.annotation or ast.Constant("Any")) == "Any"
            ):
                untyped.append(f"{path.name}:{node.lineno}")
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.strip("_a") in (
                "store",
                "connect",
            ):
                assert node.returns is not None
                assert ast.unparse(node.returns) != "Any", node.name
    assert untyped == []


@pytest.mark.slow
def test_the_fake_has_what_the_contract_of_the_adapters_demands(tmp_path: Path) -> None:
    program = ROOT / "tests" / "contract" / "memory.py"
    assert mypy(program, tmp_path / "cache").strip().endswith("no issues found in 1 source file")
