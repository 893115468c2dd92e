"""The mapped control page of a storage, and whether its file is still in place."""

from __future__ import annotations

import mmap
import os
from contextlib import suppress

from .requests import Words


def boot_id() -> bytes:
    """Return the kernel's id of this boot.

    If it has none, random bytes, so that no older page is trusted.
    """
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return bytes.fromhex(file.read().strip().replace("-", ""))
    except (OSError, ValueError):
        return os.urandom(16)


class MappedPage:
    """A storage's mapping of the control page; at most one at a time."""

    def __init__(self) -> None:
        self._mapped: tuple[mmap.mmap, memoryview[int]] | None = None
        self._place: tuple[str, int, int] | None = None  # name, device and inode

    def share(self, name: str, fd: int, page: mmap.mmap) -> Words:
        """Remember the page and return it as words.

        An older page is unmapped with the last reference to its words.
        """
        words = memoryview(page).cast("Q")
        facts = os.fstat(fd)
        self._mapped, self._place = (page, words), (name, facts.st_dev, facts.st_ino)
        return words

    def is_in_place(self, directory_fd: int) -> bool:
        """Return True if the name still leads to the mapped file, or if nothing is mapped."""
        if self._place is None:
            return True
        name, device, inode = self._place
        try:
            found = os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return (found.st_dev, found.st_ino) == (device, inode)

    def unmap(self) -> None:
        """Unmap the page. Its words cannot be used any more."""
        mapped, self._mapped = self._mapped, None
        if mapped is not None:
            page, words = mapped
            with suppress(BufferError):  # it is still in use somewhere, and unmapped with the last reference
                words.release()
                page.close()
