"""The tables that a process has open: a bounded number, since descriptors are few, and the rest of the process needs some, too.

A reader keeps what it was given until its read is done; the descriptor closes with the last reference.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ...errors import CorruptionError, StoreBusy
from ..names import file_name
from ..storage.descriptors import NO_DESCRIPTORS
from ..storage.requests import File, Op, Open
from .cache import GenerationalCache

SHARE: Final = 4  # of the descriptors that the process may have, tables take one in so many


class TableGoneError(CorruptionError):
    """A table is not there any more. That is damage, unless the view is not pinned: then other processes may have replaced it."""


class TableFiles:
    """Open tables by number. Any thread."""

    __slots__ = ("_files", "_files_max")

    def __init__(self, files_max: int) -> None:
        self._files_max = files_max  # 1 keeps none
        self._files = GenerationalCache[int, File](files_max, _one)

    def find(self, number: int) -> File | None:
        """The file of a table if it is open. One dict look-up."""
        return self._files.get(number)

    def open(self, number: int) -> Op[File]:
        """The file of a table, which stays open while the answer is kept.

        `TableGoneError` when there is no such file, `StoreBusy` when there is no descriptor for it.
        """
        file = self._files.get(number)
        if file is None:
            file = yield from self.open_anew(number)
            self._files.put(number, file)
        return file

    def open_anew(self, number: int) -> Op[File]:
        """A descriptor of the caller's own."""
        name = file_name("table", number)
        try:
            file: File = yield Open(name)
        except FileNotFoundError as error:
            raise TableGoneError("a table that the manifest names is missing", path=name) from error
        except OSError as error:
            if error.errno not in NO_DESCRIPTORS:
                raise
            raise StoreBusy(f"no free file descriptor to read a table: path={name} reason={error.strerror}") from error
        return file

    def forget(self, numbers: Iterable[int]) -> None:
        """Close tables that are not needed any more, so that their space comes free."""
        for number in numbers:
            self._files.discard(number)

    def shed(self) -> None:
        """Close all that nobody is reading at the moment: something else needs a descriptor."""
        self._files = GenerationalCache[int, File](self._files_max, _one)


def files_max(wanted: int, descriptors: int) -> int:
    """How many tables may be open: what is wanted, but no more than a share of the descriptors that the process may have."""
    return max(1, min(wanted, descriptors // SHARE))


def _one(_: File) -> int:
    return 1
