"""The I/O requests of the engine, and the protocol of the storage that performs them.

An operation is a generator. It yields requests, and a driver (drivers.py, adrivers.py) has a
storage perform each one and sends the reply back. If a request fails, its `OSError` is thrown into
the operation. So operations know nothing of threads, event loops or files.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeVar

Role = Literal["open", "write", "sync", "compact"]
"""What a lock is for.

`open`: opening the store. `write`: appending to the WAL. `sync`: syncing the WAL. `compact`:
changing the manifest and the tables. A process that needs two of them takes them in this order.
"""


class File(Protocol):
    """An open file. It closes itself with its last reference. Closing it twice is harmless."""

    @property
    def name(self) -> str:
        """The name in the store's directory under which the file was opened."""

    def close(self) -> None:
        """Close the descriptor."""


class Open(NamedTuple):
    """-> File. With `create`, the file must not exist, and gets `preallocate` bytes of zeros."""

    name: str
    create: bool = False
    preallocate: int = 0


class ReadAt(NamedTuple):
    """-> bytes, fewer than `size` only at the end of the file."""

    file: File
    offset: int
    size: int


class WriteAt(NamedTuple):
    """-> None. Writes all of `data`, or raises an error after writing an unknown part of it.

    `sync_follows` is a hint that a sync comes soon. The disk may then begin to write at once, so
    that the sync has less to wait for.
    """

    file: File
    offset: int
    data: bytes
    sync_follows: bool = False


class Allocate(NamedTuple):
    """-> None. Reserves disk space for the first `size` bytes of the file. New bytes are zeros.

    If the disk is full, the `OSError` leaves the file as it was. Does nothing if the file system
    cannot reserve space.
    """

    file: File
    size: int


class Truncate(NamedTuple):
    """-> None. Cuts the file to `size` bytes, and frees the space of the rest."""

    file: File
    size: int


class Sync(NamedTuple):
    """-> None.

    Makes durable what was written to the file (fdatasync); with `metadata` also its attributes
    (fsync).
    """

    file: File
    metadata: bool = False


class SyncDirectory(NamedTuple):
    """-> None. Makes durable which names were created, renamed and removed."""


class Rename(NamedTuple):
    """-> None. Renames a file atomically, replacing `new` if it exists."""

    old: str
    new: str


class Remove(NamedTuple):
    """-> None. Removes the name. Files that are open can still be read."""

    name: str


class ListDirectory(NamedTuple):
    """-> dict of name to size in bytes.

    Not a snapshot: others may create and remove files meanwhile.
    """


class Lock(NamedTuple):
    """-> bool. Takes the role's lock for this process, waiting for at most `timeout` seconds.

    `Storage.unlocker` releases it. When a process dies, its lock is free at once; a process that is
    stopped keeps it. The reply is False if the lock was not free in time, or as soon as `until`,
    which is called again and again, returns True because there is nothing to wait for any more.
    """

    role: Role
    timeout: float
    until: Callable[[], bool] | None = None


class Nap(NamedTuple):
    """-> None. Sleeps, to let another process make progress."""

    seconds: float


class Pause(NamedTuple):
    """-> None. A slice of the work is done, and the driver may let others run."""


Request = (
    Open
    | ReadAt
    | WriteAt
    | Allocate
    | Truncate
    | Sync
    | SyncDirectory
    | Rename
    | Remove
    | ListDirectory
    | Lock
    | Nap
    | Pause
)

PAUSE = Pause()

T = TypeVar("T")
Op = Generator[Request, Any, T]


class Words(Protocol):
    """Aligned 64-bit words that processes share. Each load and each store is atomic."""

    def __getitem__(self, index: int, /) -> int: ...

    def __setitem__(self, index: int, value: int, /) -> None: ...


class Process(NamedTuple):
    """A process that has the store open.

    The pid is for people; only the lock tells that it is alive.
    """

    pid: int
    since_ms: int
    program: str


class Flag(Protocol):
    """A flag. Item 0 is 1 until somebody sets it to 0; in a forked child it is 0."""

    def __getitem__(self, index: int, /) -> int: ...

    def __setitem__(self, index: int, value: int, /) -> None: ...


UNBOUNDED: Final = 1 << 62
"""The free bytes of a disk that does not report them."""


class Space(NamedTuple):
    """Free bytes and size of the file system that holds the directory."""

    free: int
    total: int


class Storage(Protocol):
    """A store's directory, as one process sees it."""

    read_only: bool
    """True if nothing may be written, locked or announced."""

    def perform(self, request: Request) -> Any:
        """Perform a request and return its reply. Blocks. Any thread may call it."""

    def read_if_cached(self, request: ReadAt) -> bytes | None:
        """Return the bytes if they are available without waiting for the disk, else None.

        Never blocks.
        """

    def unlocker(self, role: Role) -> Callable[[], None]:
        """Return a function that releases the role's lock, and does nothing if it is not held.

        It is one C call, so no signal handler can run before it has released the lock.
        """

    def announce(self, *, alone: bool) -> None:
        """Announce that this process has the store open, until `close` or its death.

        Unless `alone`, there are other processes, and the lock files of all roles must exist.
        """

    def attached(self, *, sweep: bool = False) -> list[Process]:
        """Return the other processes that have the store open.

        With `sweep`, remove the announcements of dead processes. That needs the open lock.
        """

    def announced(self) -> str:
        """Return the name of this process's announcement, which is unique; empty if it made none."""

    def is_announced(self, name: str) -> bool:
        """Return False if the process of an announcement has ended; True if not, or not known."""

    def space(self) -> Space:
        """Return the disk space available to this process, as the system reports it at this moment."""

    def descriptors_max(self) -> int:
        """Return how many descriptors the process may have open."""

    def when_short(self, give_back: Callable[[], None]) -> None:
        """Register a function that closes files which are not needed.

        Any thread calls it before a request, at any directory, fails for lack of a descriptor.
        """

    def process_id(self) -> int:
        """Return the id to store in words that name the holder of a lock; never 0."""

    def read_page(self, name: str, size: int) -> bytes:
        """Return what an earlier process left in a mapped file; empty if there is none."""

    def map_page(self, name: str, fresh: bytes) -> Words:
        """Write `fresh` to a file and map it as shared words. Only for a process that is alone."""

    def attach_page(self, name: str, size: int) -> Words | None:
        """Map an existing file as shared words; None if it is missing or smaller than `size`."""

    def raise_flag(self) -> Flag:
        """Return a flag that is 1 in this process, and 0 in every child of it."""

    def changed(self) -> str | None:
        """Return why the directory is not the one that was opened any more.

        None if it still is, or if that cannot be determined.
        """

    def wait_for_word(self, words: Words, index: int, seen: int, seconds: float) -> None:
        """Sleep on a word until somebody wakes it, for at most `seconds`. Blocks.

        Does not sleep if the low half of the word is not `seen`. May return early.
        """

    def wake_for_word(self, words: Words, index: int) -> None:
        """Wake everyone who sleeps on a word, in every process. Never blocks."""

    def boot_id(self) -> bytes:
        """Return sixteen bytes that stay the same until the machine boots again."""

    def random_bytes(self, size: int) -> bytes:
        """Return fresh random bytes, for ids and salts."""

    def close(self) -> None:
        """Release locks and descriptors, and remove the announcement. Closing twice is harmless."""
