"""The table files that a process has open.

Their number is bounded, because descriptors are limited and the rest of the process needs some,
too. A reader holds a reference to a file until its read is done; the descriptor is closed with the
last one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ...errors import CorruptionError, StoreBusy
from ..names import file_name
from ..storage.descriptors import NO_DESCRIPTORS
from ..storage.requests import File, Op, Open
from .cache import GenerationalCache

SHARE: Final = 4  # tables take at most a fourth of the descriptors that the process may have


class TableGoneError(CorruptionError):
    """A table's file does not exist.

    If the view is pinned, that is damage. If not, another process may have replaced the table.
    """


class TableFiles:
    """Open table files by table number. Any thread may use it."""

    __slots__ = ("_files", "_files_max")

    def __init__(self, files_max: int) -> None:
        self._files_max = files_max  # with 1, no file is kept open
        self._files = GenerationalCache[int, File](files_max, _one)

    def find(self, number: int) -> File | None:
        """Return the file of a table if it is open, else None. One dict lookup."""
        return self._files.get(number)

    def open(self, number: int) -> Op[File]:
        """Return the file of a table. It stays open at least while the caller keeps the reference.

        Raises `TableGoneError` if the file does not exist, `StoreBusy` if there is no free
        descriptor.
        """
        file = self._files.get(number)
        if file is None:
            file = yield from self.open_anew(number)
            self._files.put(number, file)
        return file

    def open_anew(self, number: int) -> Op[File]:
        """Open the file of a table with a descriptor of the caller's own. Errors as in `open`."""
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
        """Close tables that are not needed, so that the space of removed files becomes free."""
        for number in numbers:
            self._files.discard(number)

    def shed(self) -> None:
        """Close all files that nobody is reading, since something else needs a descriptor."""
        self._files = GenerationalCache[int, File](self._files_max, _one)


def files_max(wanted: int, descriptors: int) -> int:
    """Return how many tables may be open: as many as wanted, up to a share of the descriptors."""
    return max(1, min(wanted, descriptors // SHARE))


def _one(_: File) -> int:
    return 1
