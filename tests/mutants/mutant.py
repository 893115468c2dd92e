"""What a seeded bug is; the lists are in `mutants.py` and the other `mutants_*.py`."""

from __future__ import annotations

from typing import NamedTuple


class Mutant(NamedTuple):
    """One bug: `old` stands once in `file` and becomes `new`; one of `tests` has to notice."""

    name: str
    file: str
    old: str
    new: str
    tests: str
