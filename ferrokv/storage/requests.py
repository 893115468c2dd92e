"""The I/O that the engine can ask for, and the type of the operations that ask.

An operation is a generator that yields requests and is sent their replies; a failed request is thrown into it as the
`OSError` that it met. No operation knows threads, event loops or files.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, NamedTuple, Protocol, TypeVar


class File(Protocol):
    """An open file. Closing is idempotent, and happens by itself when the last reference goes."""

    @property
    def name(self) -> str:
        """The file's name inside the store when it was opened."""

    def close(self) -> None:
        """Give the descriptor back."""


class Open(NamedTuple):
    """-> File. With `create` the file must not exist; `preallocate` bytes of zeros are reserved for it."""

    name: str
    create: bool = False
    preallocate: int = 0


class ReadAt(NamedTuple):
    """-> bytes, fewer than `size` only at the end of the file."""

    file: File
    offset: int
    size: int


class WriteAt(NamedTuple):
    """-> None. All of `data`, or an error after an unknown part of it."""

    file: File
    offset: int
    data: bytes


class Sync(NamedTuple):
    """-> None. What was written to the file survives a power cut; with `metadata` its attributes too (fsync)."""

    file: File
    metadata: bool = False


class SyncDirectory(NamedTuple):
    """-> None. Names that were created, renamed or removed stay so."""


class Rename(NamedTuple):
    """-> None. Atomic; replaces `new`."""

    old: str
    new: str


class Remove(NamedTuple):
    """-> None. The name goes; open files stay readable."""

    name: str


class ListDirectory(NamedTuple):
    """-> dict of name to size in bytes."""


class Pause(NamedTuple):
    """-> None. A slice of background work is done; the driver may let others run."""


Request = Open | ReadAt | WriteAt | Sync | SyncDirectory | Rename | Remove | ListDirectory | Pause

PAUSE = Pause()

T = TypeVar("T")
Op = Generator[Request, Any, T]


class Words(Protocol):
    """Aligned 64-bit words that other processes see; each load and each store is whole."""

    def __getitem__(self, index: int, /) -> int: ...

    def __setitem__(self, index: int, value: int, /) -> None: ...


class Storage(Protocol):
    """One directory, as the engine sees it."""

    def perform(self, request: Request) -> Any:
        """Do what the request says, blocking, and return its reply. Any thread."""

    def read_if_cached(self, request: ReadAt) -> bytes | None:
        """The bytes if they can be had without waiting for the disk, else None. Never blocks."""

    def try_lock(self, role: str) -> bool:
        """Take the lock file of a role for this process, or answer False at once. Held until `close`."""

    def read_page(self, name: str, size: int) -> bytes:
        """What an earlier process left in a mapped file; empty if there is none."""

    def map_page(self, name: str, fresh: bytes) -> Words:
        """Map a file as shared words after writing `fresh` to it."""

    def boot_id(self) -> bytes:
        """Sixteen bytes that are the same until the machine starts again."""

    def random_bytes(self, size: int) -> bytes:
        """Fresh randomness for ids and salts."""

    def close(self) -> None:
        """Release locks and descriptors. Idempotent."""
