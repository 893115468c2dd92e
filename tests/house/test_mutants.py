"""The seeded bugs still fit the code and the tests, so that `make mutants` says something of each."""

from __future__ import annotations

import ast
from functools import cache

import pytest

from ..mutants.core import EVERY, ROOT, split
from ..mutants.mutant import Mutant


@cache
def functions(file: str) -> frozenset[str]:
    tree = ast.parse((ROOT / file).read_text())
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.mark.parametrize("mutant", EVERY, ids=lambda mutant: mutant.name)
def test_a_seeded_bug_has_its_place_and_its_tests(mutant: Mutant) -> None:
    source = (ROOT / mutant.file).read_text()
    assert source.count(mutant.old) == 1
    changed = source.replace(mutant.old, mutant.new)
    assert changed != source
    ast.parse(changed)
    for test in split(mutant.tests):
        file, _, name = test.partition("::")
        assert not name or name.partition("[")[0] in functions(file)


def test_their_names_are_their_own() -> None:
    assert len({mutant.name for mutant in EVERY}) == len(EVERY)
