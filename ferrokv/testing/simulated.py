"""A machine in memory: a disk that can lose power at any request or refuse it, and processes that share it, all from one seed.

The model is docs/format.md section 1: what was synced stays; what was not is kept, lost or torn in units of a sector,
in any order, file by file; names that were not synced are kept or lost one by one. A process stops at every request, at every
load and store of a shared word, and at every lock, where a scheduler may let others run, stop it or kill it.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from ..local.storage.futex import LOW_HALF
from ..local.storage.requests import (
    UNBOUNDED,
    Allocate,
    Flag,
    ListDirectory,
    Lock,
    Nap,
    Open,
    Pause,
    Process,
    ReadAt,
    Remove,
    Rename,
    Request,
    Role,
    Space,
    Sync,
    SyncDirectory,
    Truncate,
    Words,
    WriteAt,
)
from .medium import Inode, NameChange, kept, overlay, taken


class PowerCut(BaseException):
    """The machine is gone; nothing may be handled after this."""


class ProcessKilled(BaseException):
    """The process is gone; whatever its code still tries to do has no effect."""


class SimulatedFile:
    """An open file of the simulated disk."""

    __slots__ = ("inode", "name")

    def __init__(self, name: str, inode: Inode) -> None:
        self.name = name
        self.inode = inode

    def close(self) -> None:
        """Nothing to give back."""


Observer = Callable[[int, Request], None]
StoreObserver = Callable[["SimulatedStorage", int, int], None]


@dataclass(slots=True)
class Machine:
    """What the processes share: the disk, the mapped pages, the locks, and who is alive."""

    random: Random
    boot: bytes
    names: dict[str, Inode] = field(default_factory=dict)
    durable_names: dict[str, Inode] = field(default_factory=dict)
    name_changes: list[NameChange] = field(default_factory=list)
    pages: dict[str, list[int]] = field(default_factory=dict)
    locks: dict[str, SimulatedStorage] = field(default_factory=dict)
    announced: list[SimulatedStorage] = field(default_factory=list)
    asleep: list[SimulatedStorage] = field(default_factory=list)
    """Who sleeps on a shared word."""
    capacity: int | None = None
    """Bytes that the disk holds, in whole sectors for each file; None for a disk without bounds."""
    foreign: int = 0
    """What others than the store take of them."""
    on_store: StoreObserver | None = None
    """Called with process, index and value before a shared word changes."""

    @property
    def free(self) -> int:
        """Bytes that are left. A file that was removed takes none, whoever has it open."""
        assert self.capacity is not None
        return self.capacity - self.foreign - sum(taken(len(inode.content)) for inode in self.names.values())

    def room_for(self, inode: Inode, size: int) -> int:
        """How large the file may become at most, on its way to `size`."""
        if self.capacity is None or size <= len(inode.content):
            return size
        return min(size, taken(len(inode.content)) + max(0, self.free))


class SimulatedWords:
    """Shared words as one process sees them."""

    __slots__ = ("_storage", "_words")

    def __init__(self, storage: SimulatedStorage, words: list[int]) -> None:
        self._storage = storage
        self._words = words

    def __getitem__(self, index: int, /) -> int:
        self._storage.pause()
        return self._words[index]

    def peek(self, index: int) -> int:
        """A load that is no step."""
        return self._words[index]

    def __setitem__(self, index: int, value: int, /) -> None:
        self._storage.pause()
        on_store = self._storage.machine.on_store
        if on_store is not None:
            on_store(self._storage, index, value)
        self._words[index] = value


class SimulatedStorage:
    """One directory on a simulated disk, for one process. `observe(index, request)` is called before each request and may raise.

    An `OSError` raised by the observer makes the request fail: a failed write leaves a random part behind, and a failed
    sync forgets the unsynced bytes while reads go on showing them, as ext4 does.
    """

    read_only = False

    def __init__(self, seed: int, observe: Observer | None = None, *, shares: SimulatedStorage | None = None) -> None:
        if shares is None:
            random = Random(seed)  # noqa: S311 - a simulation must be repeatable
            self.machine = Machine(random, random.randbytes(16))
        else:
            self.machine = shares.machine
        self.observe = observe
        self.requests = 0
        self.pid = seed if shares is not None else 1
        self.alive = True
        self.on_pause: Callable[[], None] | None = None  # a scheduler's hook; returns when this process may go on
        self.waiting_for: str | None = None  # the role whose lock somebody else holds
        self.waiting_until: Callable[[], bool] | None = None  # what would end the waiting, too
        self.timed_out = False  # set by a scheduler to end the waiting
        self._actions: dict[type, Callable[[Any], Any]] = {
            Open: self._open,
            ReadAt: lambda r: bytes(r.file.inode.content[r.offset : r.offset + r.size]),
            WriteAt: self._write,
            Allocate: lambda r: self._allocate(r.file.inode, r.size),
            Truncate: self._truncate,
            Sync: self._sync,
            SyncDirectory: self._sync_directory,
            Rename: self._rename,
            Remove: self._remove,
            ListDirectory: self._list,
            Lock: self._lock,
            Nap: lambda _: None,
            Pause: lambda _: None,
        }

    def pause(self) -> None:
        """A point at which another process may come first, or this one may end."""
        if self.on_pause is not None and self.alive:
            self.on_pause()
        if not self.alive:
            raise ProcessKilled

    def perform(self, request: Request) -> Any:
        """Carry the request out, unless the observer raises."""
        self.pause()
        index = self.requests
        self.requests += 1
        if self.observe is not None:
            try:
                self.observe(index, request)
            except OSError as error:
                self._leave_failure(request, error)
                raise
        return self._actions[request.__class__](request)

    def read_if_cached(self, request: ReadAt) -> bytes | None:
        """Memory never makes a caller wait."""
        data: bytes = self.perform(request)
        return data

    def unlocker(self, role: Role) -> Callable[[], None]:
        """Lets go of the role's lock if this process has it."""

        def unlock() -> None:
            self.pause()
            if self.machine.locks.get(role) is self:
                del self.machine.locks[role]

        return unlock

    def announce(self, *, alone: bool) -> None:
        """Be seen by others."""
        self.pause()
        self.machine.announced.append(self)

    def attached(self, *, sweep: bool = False) -> list[Process]:
        """The other processes that announced themselves and live."""
        self.pause()
        return [Process(other.pid, 0, "simulated") for other in self.machine.announced if other is not self]

    def announced(self) -> str:
        """The small number, spelled."""
        return f"{self.pid:016x}"

    def is_announced(self, name: str) -> bool:
        """True if the process lives."""
        self.pause()
        return any(other.announced() == name for other in self.machine.announced)

    def space(self) -> Space:
        """What the machine says, or no bounds."""
        machine = self.machine
        return Space(UNBOUNDED, UNBOUNDED) if machine.capacity is None else Space(machine.free, machine.capacity)

    def descriptors_max(self) -> int:
        """Enough."""
        return 1 << 20

    def when_short(self, give_back: Callable[[], None]) -> None:
        """Never."""

    def process_id(self) -> int:
        """A small number."""
        return self.pid

    def read_page(self, name: str, size: int) -> bytes:
        """The page, if one was mapped since the power came on."""
        self.pause()
        words = self.machine.pages.get(name, [])
        return b"".join(word.to_bytes(8, sys.byteorder) for word in words[: size // 8])

    def map_page(self, name: str, fresh: bytes) -> Words:
        """A page in memory, which lives until the power is cut."""
        self.pause()
        words = self.machine.pages.setdefault(name, [])
        words[:] = memoryview(fresh).cast("Q").tolist()
        return SimulatedWords(self, words)

    def attach_page(self, name: str, size: int) -> Words | None:
        """The page as others see it."""
        self.pause()
        words = self.machine.pages.get(name)
        return None if words is None else SimulatedWords(self, words)

    def raise_flag(self) -> Flag:
        """One that nothing takes down, since nobody forks here."""
        return [1]

    def changed(self) -> None:
        """Nobody exchanges a simulated directory."""

    def wait_for_word(self, words: Words, index: int, seen: int, seconds: float) -> None:
        """Sleep until somebody wakes: no time passes here. Comparing and falling asleep are one step, as in the kernel."""
        self.pause()
        assert isinstance(words, SimulatedWords)
        if self.on_pause is not None and words.peek(index) & LOW_HALF == seen:
            self.machine.asleep.append(self)
            self.pause()

    def wake_for_word(self, words: Words, index: int) -> None:
        """Wake all who sleep."""
        self.pause()
        self.machine.asleep.clear()

    def boot_id(self) -> bytes:
        """Another one for each simulated machine."""
        return self.machine.boot

    def random_bytes(self, size: int) -> bytes:
        """From the seed."""
        return self.machine.random.randbytes(size)

    def close(self) -> None:
        """Let the locks go, and be seen no more."""
        machine = self.machine
        for role in [role for role, holder in machine.locks.items() if holder is self]:
            del machine.locks[role]
        for known in (machine.announced, machine.asleep):
            if self in known:
                known.remove(self)

    def kill(self) -> None:
        """End the process where it stands: what it holds is free, and nothing that its code still does counts."""
        self.alive = False
        self.close()

    def after_power_cut(self, seed: int) -> SimulatedStorage:
        """A new disk as the machine may find it after losing power now; `seed` chooses what was lost."""
        after = SimulatedStorage(seed)
        after.machine.capacity, after.machine.foreign = self.machine.capacity, self.machine.foreign
        after.machine.names = kept(after.machine.random, self.machine.durable_names, self.machine.name_changes)
        after.machine.durable_names = dict(after.machine.names)
        return after

    def _open(self, request: Open) -> SimulatedFile:
        if not request.create:
            if request.name not in self.machine.names:
                raise FileNotFoundError(errno.ENOENT, "no such file", request.name)
            return SimulatedFile(request.name, self.machine.names[request.name])
        if request.name in self.machine.names:
            raise FileExistsError(errno.EEXIST, "file exists", request.name)
        inode = Inode()
        self.machine.names[request.name] = inode
        self.machine.name_changes.append(NameChange(None, request.name, inode))
        self._allocate(inode, request.preallocate)  # which may fail, and leave the file
        return SimulatedFile(request.name, inode)

    def _write(self, request: WriteAt) -> None:
        inode: Inode = request.file.inode  # type: ignore[attr-defined]
        room = self.machine.room_for(inode, request.offset + len(request.data)) - request.offset
        data = request.data[: max(0, room)]
        if data:
            overlay(inode.content, request.offset, data)
            inode.unsynced.append((request.offset, data))
        if len(data) < len(request.data):
            raise OSError(errno.ENOSPC, "the simulated disk is full", request.file.name)

    def _allocate(self, inode: Inode, size: int) -> None:
        start = len(inode.content)
        if self.machine.room_for(inode, size) < size:
            raise OSError(errno.ENOSPC, "the simulated disk is full")
        if start < size:
            inode.content.extend(bytes(size - start))
            inode.unsynced.append((start, bytes(size - start)))

    def _truncate(self, request: Truncate) -> None:
        # As a change of the file that a sync of it makes durable; what a power cut brings back behind the end is cut off, too.
        inode: Inode = request.file.inode  # type: ignore[attr-defined]
        del inode.content[request.size :]
        del inode.durable[request.size :]
        inode.unsynced = [
            (offset, data[: request.size - offset]) for offset, data in inode.unsynced if offset < request.size
        ]

    def _sync(self, request: Sync) -> None:
        inode: Inode = request.file.inode  # type: ignore[attr-defined]
        for offset, data in inode.unsynced:
            overlay(inode.durable, offset, data)
        inode.unsynced.clear()

    def _list(self, _: ListDirectory) -> dict[str, int]:
        """No moment at which all of it is true: others may go on after the names were read and before their sizes are."""
        found = list(self.machine.names)
        self.pause()
        names = self.machine.names
        return {name: len(names[name].content) for name in found if name in names}

    def _sync_directory(self, _: SyncDirectory) -> None:
        self.machine.durable_names = dict(self.machine.names)
        self.machine.name_changes.clear()

    def _rename(self, request: Rename) -> None:
        if request.old not in self.machine.names:
            raise FileNotFoundError(errno.ENOENT, "no such file", request.old)
        inode = self.machine.names.pop(request.old)
        self.machine.names[request.new] = inode
        self.machine.name_changes.append(NameChange(request.old, request.new, inode))

    def _remove(self, request: Remove) -> None:
        if request.name not in self.machine.names:
            raise FileNotFoundError(errno.ENOENT, "no such file", request.name)
        del self.machine.names[request.name]
        self.machine.name_changes.append(NameChange(request.name, None, None))

    def _lock(self, request: Lock) -> bool:
        locks = self.machine.locks
        while locks.get(request.role, self) is not self:
            if self.on_pause is None or not request.timeout:
                return False  # nobody else can run, or nobody is waited for
            self.waiting_for, self.waiting_until = request.role, request.until
            self.pause()
            self.waiting_for = self.waiting_until = None
            if request.until is not None and request.until():
                return False
            if self.timed_out:
                self.timed_out = False
                return False
        locks[request.role] = self
        return True

    def _leave_failure(self, request: Request, error: OSError) -> None:
        if isinstance(request, WriteAt):
            part = self.machine.random.randrange(len(request.data) + 1)
            if part:
                self._write(WriteAt(request.file, request.offset, request.data[:part]))
        elif isinstance(request, Sync):
            request.file.inode.unsynced.clear()  # type: ignore[attr-defined]
        elif isinstance(request, Open) and request.create and error.errno == errno.ENOSPC:
            # A file may be there although its space could not be reserved.
            self._open(Open(request.name, create=True))
