"""The mapped page of a storage: shared words, and whether the file at its name is still the one that is mapped."""

from __future__ import annotations

import mmap
import os
from contextlib import suppress

from .requests import Words


def boot_id() -> bytes:
    """Which boot of the machine this is; random where the kernel does not tell, so that no page of another process is trusted."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return bytes.fromhex(file.read().strip().replace("-", ""))
    except (OSError, ValueError):
        return os.urandom(16)


class MappedPage:
    """At most one mapping at a time."""

    def __init__(self) -> None:
        self._mapped: tuple[mmap.mmap, memoryview[int]] | None = None
        self._place: tuple[str, int, int] | None = None  # name, device and inode

    def share(self, name: str, fd: int, page: mmap.mmap) -> Words:
        """The page as words. One that was mapped before is let go with the last reference to its words."""
        words = memoryview(page).cast("Q")
        facts = os.fstat(fd)
        self._mapped, self._place = (page, words), (name, facts.st_dev, facts.st_ino)
        return words

    def is_in_place(self, directory_fd: int) -> bool:
        """True if the name still leads to the file that is mapped, or nothing is."""
        if self._place is None:
            return True
        name, device, inode = self._place
        try:
            found = os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return (found.st_dev, found.st_ino) == (device, inode)

    def unmap(self) -> None:
        """Take the words away from whoever has them."""
        mapped, self._mapped = self._mapped, None
        if mapped is not None:
            page, words = mapped
            with suppress(BufferError):  # somebody still looks at it, and with the last of them it goes
                words.release()
                page.close()
