"""The I/O that the engine can ask for, and the type of the operations that ask.

An operation is a generator that yields requests and is sent their replies; a failed request is thrown into it as the
`OSError` that it met. No operation knows threads, event loops or files.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeVar

Role = Literal["open", "write", "sync", "compact"]
"""What a lock file is for. `open`: attaching; `write`: the WAL's tail; `sync`: making it durable; `compact`: manifest and tables.

Who needs two takes them in this order."""


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
    """-> None. All of `data`, or an error after an unknown part of it.

    `sync_follows` is a hint: the disk may begin at once, so that the sync finds less to wait for.
    """

    file: File
    offset: int
    data: bytes
    sync_follows: bool = False


class Allocate(NamedTuple):
    """-> None. The first `size` bytes of the file have their place on the disk; what is new of them is zeros.

    The OSError of a full disk leaves what was there. Where the file system reserves nothing, this does nothing.
    """

    file: File
    size: int


class Truncate(NamedTuple):
    """-> None. The file has `size` bytes, fewer than it had, and what they took is free."""

    file: File
    size: int


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
    """-> dict of name to size in bytes. Of no single moment: others may make and remove files meanwhile."""


class Lock(NamedTuple):
    """-> bool. Take the role's lock for this process, waiting for at most `timeout` seconds; `Storage.unlocker` lets go.

    The lock of a process that dies is free at once; one that is stopped keeps it. Never taken from anybody. False also as soon as
    `until`, which is asked again and again, says that there is nothing to wait for any more.
    """

    role: Role
    timeout: float
    until: Callable[[], bool] | None = None


class Nap(NamedTuple):
    """-> None, after so many seconds: another process has to come further first."""

    seconds: float


class Pause(NamedTuple):
    """-> None. A slice of background work is done; the driver may let others run."""


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
    """Aligned 64-bit words that other processes see; each load and each store is whole."""

    def __getitem__(self, index: int, /) -> int: ...

    def __setitem__(self, index: int, value: int, /) -> None: ...


class Process(NamedTuple):
    """A process that has the store open. Liveness is its lock, never its pid, which is for people to read."""

    pid: int
    since_ms: int
    program: str


class Flag(Protocol):
    """Item 0 is 1 until somebody sets it to 0, and 0 in a forked child."""

    def __getitem__(self, index: int, /) -> int: ...

    def __setitem__(self, index: int, value: int, /) -> None: ...


UNBOUNDED: Final = 1 << 62
"""Free bytes of a disk that does not tell."""


class Space(NamedTuple):
    """Bytes of the file system that holds the directory."""

    free: int
    total: int


class Storage(Protocol):
    """One directory, as one process sees it."""

    read_only: bool
    """True if nothing may be written, locked or announced."""

    def perform(self, request: Request) -> Any:
        """Do what the request says, blocking, and return its reply. Any thread."""

    def read_if_cached(self, request: ReadAt) -> bytes | None:
        """The bytes if they can be had without waiting for the disk, else None. Never blocks."""

    def unlocker(self, role: Role) -> Callable[[], None]:
        """What lets go of the role's lock; of one that is not held too. One C call, which no signal handler comes before."""

    def announce(self, *, alone: bool) -> None:
        """Say that this process has the store open, until `close` or its death. Beside others, lock files must be there."""

    def attached(self, *, sweep: bool = False) -> list[Process]:
        """Who else has the store open. With `sweep`, which the open lock must cover, files of the dead are removed."""

    def announced(self) -> str:
        """What this process's announcement is called; empty if it made none. No other process ever has the same."""

    def is_announced(self, name: str) -> bool:
        """True if the process of an announcement has not ended, or nothing can be said about it."""

    def space(self) -> Space:
        """The disk's room for this process, as far as the system tells; looked up anew each time."""

    def descriptors_max(self) -> int:
        """How many files the process may have open."""

    def when_short(self, give_back: Callable[[], None]) -> None:
        """Have `give_back` called, by any thread, before a request of any directory fails because no descriptor is free."""

    def process_id(self) -> int:
        """For the words that name a holder; never 0."""

    def read_page(self, name: str, size: int) -> bytes:
        """What an earlier process left in a mapped file; empty if there is none."""

    def map_page(self, name: str, fresh: bytes) -> Words:
        """Map a file as shared words after writing `fresh` to it. Only for a process that is alone."""

    def attach_page(self, name: str, size: int) -> Words | None:
        """Map a file as shared words as it is; None if it is not there in this size."""

    def raise_flag(self) -> Flag:
        """A flag that is up in this process and in no child of it."""

    def changed(self) -> str | None:
        """Why the directory is not the one that was opened any more; None if it is, or nothing can be said."""

    def wait_for_word(self, words: Words, index: int, seen: int, seconds: float) -> None:
        """Sleep while the low half of a word is `seen` and nobody wakes, for so long at most. May return early. Blocks."""

    def wake_for_word(self, words: Words, index: int) -> None:
        """Wake all who sleep on a word, in every process. Never blocks."""

    def boot_id(self) -> bytes:
        """Sixteen bytes that are the same until the machine starts again."""

    def random_bytes(self, size: int) -> bytes:
        """Fresh randomness for ids and salts."""

    def close(self) -> None:
        """Release locks and descriptors, and take the announcement back. Idempotent."""
