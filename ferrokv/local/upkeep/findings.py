"""The findings of a verification. Damage is collected here instead of being raised."""

from __future__ import annotations

import errno
from types import TracebackType

from ...errors import CorruptionError, StoreBusy, StoreClosed
from ..engine.engine import NO_DESCRIPTORS
from ..tree.table import read_damage


class Findings:
    """What was checked, and the problems in the order in which they were found."""

    def __init__(self) -> None:
        self.files = 0
        self.bytes = 0
        self.records = 0
        self.problems: list[CorruptionError] = []

    def add(self, reason: str, path: str, offset: int | None = None) -> None:
        """Add a problem."""
        self.problems.append(CorruptionError(reason, path=path, offset=offset))

    def collecting(self, path: str, offset: int | None = None) -> Collecting:
        """Return a context manager that collects damage.

        An error of damage ends the `with` block and is added to the problems. If it names no file
        or offset, it gets those given here.
        """
        return Collecting(self, path, offset)

    def include(self, other: Findings) -> None:
        """Add the findings of another part of the verification."""
        self.files += other.files
        self.bytes += other.bytes
        self.records += other.records
        self.problems += other.problems


class Collecting:
    """The context manager that `Findings.collecting` returns."""

    def __init__(self, findings: Findings, path: str, offset: int | None) -> None:
        self._findings = findings
        self._path = path
        self._offset = offset

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> bool:
        if isinstance(error, CorruptionError):
            offset = self._offset if error.offset is None else error.offset
            self._findings.add(error.reason, error.path or self._path, offset)
            return True
        if isinstance(error, OSError) and (damage := read_damage(error, self._path, self._offset)) is not None:
            self._findings.problems.append(damage)
            return True
        return False


def reading_error(error: OSError) -> StoreBusy | StoreClosed | None:
    """Return the store's error if a failed request says nothing about the files, else None."""
    if error.errno in NO_DESCRIPTORS:
        return StoreBusy(f"the verification found no free file descriptor: reason={error.strerror}")
    if error.errno == errno.EBADF:
        return StoreClosed("the store was closed meanwhile")
    return None
