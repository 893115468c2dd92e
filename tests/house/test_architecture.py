"""The imports of the tree against the table in docs/architecture.md, and the habits that a machine can check."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PACKAGE = ROOT / "ferrokv"
MODULES = sorted(path for path in PACKAGE.rglob("*.py"))
PAGES = sorted(
    page for page in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")) if page.name != "commands.md"
)  # one table
PROSE_COLUMNS_MAX = 100
LINES_MAX = 400
FUNCTION_LINES_MAX = 60


def table() -> dict[str, set[str]]:
    """Package -> packages that it may import, from the document."""
    text = (ROOT / "docs" / "architecture.md").read_text().partition("\n## Who may import whom\n")[2]
    rows = re.findall(r"^\| `([\w/]+)` \|(.*)\|$", text, re.MULTILINE)
    return {name: set(re.findall(r"`([\w/]+)`", allowed)) for name, allowed in rows}


def prose_of(page: Path) -> list[str]:
    """The lines of a page without code, tables, and what has no place to break at."""
    lines = re.sub(r"^ *```.*?^ *```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL).splitlines()
    return [line for line in lines if " " in line.strip(" -*") and not line.lstrip().startswith(("|", "<"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_prose_wraps_at_a_hundred_columns(page: Path) -> None:
    assert [line for line in prose_of(page) if len(line) > PROSE_COLUMNS_MAX] == []


def package_of(parts: tuple[str, ...]) -> str:
    """The room of the house that a module is in: a package of `ferrokv`, or one of a backend."""
    return "/".join(parts[:2] if parts[0] == "local" and len(parts) > 1 else parts[:1])


def parts_of(path: Path) -> tuple[str, ...]:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts


def imported(path: Path) -> set[str]:
    """The packages of ferrokv that a module imports, its own left out."""
    own = path.relative_to(PACKAGE).parts[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        targets: list[tuple[str, ...]] = []
        if isinstance(node, ast.ImportFrom) and node.level:
            base = own[: len(own) - node.level + 1]
            module = tuple(node.module.split(".")) if node.module else ()
            targets = [(*base, *module)] if module else [(*base, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "ferrokv":
            targets = [tuple((node.module or "").split(".")[1:]) or ("ferrokv",)]
        elif isinstance(node, ast.Import):
            targets = [("ferrokv",) for alias in node.names if alias.name.split(".")[0] == "ferrokv"]
        found |= {package_of(target) for target in targets}
    return found - {package_of(parts_of(path))}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    package = package_of(parts_of(path))
    if package in ("__init__", "local"):
        return
    allowed = table()[package]
    assert imported(path) <= allowed, f"{path.relative_to(ROOT)} may import {sorted(allowed)} only"


def test_the_table_has_every_package_and_no_circle() -> None:
    rows = table()
    assert set(rows) == {package_of(parts_of(path)) for path in MODULES} - {"__init__", "local"}
    done: set[str] = {"ferrokv"}
    while len(done) <= len(rows):
        ready = {name for name, allowed in rows.items() if allowed <= done} - done
        assert ready, "the table has a circle"
        done |= ready


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_storage_meets_the_operating_system(path: Path) -> None:
    """`os` and `open` anywhere else would escape the simulated disk. Paths, pids and fork hooks are no I/O."""
    if package_of(parts_of(path)) == "local/storage":
        return
    harmless = {"PathLike", "fsdecode", "fspath", "getpid", "register_at_fork", "path"}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os":
            assert node.attr in harmless, f"os.{node.attr}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "open"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_modules_and_functions_stay_small_and_documented(path: Path) -> None:
    source = path.read_text()
    assert len(source.splitlines()) <= LINES_MAX
    tree = ast.parse(source)
    assert ast.get_docstring(tree), "the module says what it owns"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < FUNCTION_LINES_MAX, node.name
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), node.name
