"""The names of a store's numbered files: making and parsing them (docs/format.md section 2)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, Literal

from .storage.directory import CURRENT as CURRENT

Kind = Literal["wal", "manifest", "table"]

CURRENT_ASIDE: Final = f"{CURRENT}.new"

_SUFFIX: Final[dict[Kind, str]] = {"wal": "log", "manifest": "log", "table": "sst"}
_PATTERN: Final = re.compile(r"(wal|manifest|table)-([0-9]{8,18})\.(log|sst)")


def file_name(kind: Kind, number: int) -> str:
    """Return the name of a numbered file."""
    return f"{kind}-{number:08d}.{_SUFFIX[kind]}"


def numbers_of(kind: Kind, names: Iterable[str]) -> list[int]:
    """Return the numbers of all files of a kind among `names`, in ascending order.

    Other names are ignored, and so are names that `file_name` would not have made.
    """
    found = []
    for name in names:
        match = _PATTERN.fullmatch(name)
        if match and match[1] == kind and name == file_name(kind, int(match[2])):
            found.append(int(match[2]))
    return sorted(found)
