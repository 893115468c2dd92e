"""A disk in memory that can lose power at any request, refuse any request, and replay it all from one seed.

The model is docs/format.md section 1: what was synced stays; what was not is kept, lost or torn in units of a sector,
in any order, file by file; names that were not synced are kept or lost one by one.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from .requests import (
    ListDirectory,
    Open,
    Pause,
    ReadAt,
    Remove,
    Rename,
    Request,
    Sync,
    SyncDirectory,
    Words,
    WriteAt,
)

SECTOR_BYTES: Final = 512


class PowerCut(BaseException):
    """The machine is gone; nothing may be handled after this."""


@dataclass(slots=True)
class Inode:
    """Bytes as programs see them, and what of them is on the medium."""

    content: bytearray = field(default_factory=bytearray)
    durable: bytearray = field(default_factory=bytearray)
    unsynced: list[tuple[int, bytes]] = field(default_factory=list)


class SimulatedFile:
    """An open file of the simulated disk."""

    __slots__ = ("inode", "name")

    def __init__(self, name: str, inode: Inode) -> None:
        self.name = name
        self.inode = inode

    def close(self) -> None:
        """Nothing to give back."""


@dataclass(frozen=True, slots=True)
class _NameChange:
    """A change of the directory that no directory sync has covered: `old` goes, `new` comes."""

    old: str | None
    new: str | None
    inode: Inode | None


Observer = Callable[[int, Request], None]


class SimulatedStorage:
    """One directory on a simulated disk. `observe(index, request)` is called before each request and may raise.

    An `OSError` raised by the observer makes the request fail: a failed write leaves a random part behind, and a failed
    sync forgets the unsynced bytes while reads go on showing them, as ext4 does.
    """

    def __init__(self, seed: int, observe: Observer | None = None) -> None:
        self.random = Random(seed)  # noqa: S311 - a simulation must be repeatable
        self.observe = observe
        self.requests = 0
        self.names: dict[str, Inode] = {}
        self.durable_names: dict[str, Inode] = {}
        self.name_changes: list[_NameChange] = []
        self.locked: set[str] = set()
        self.boot = self.random.randbytes(16)
        self.pages: dict[str, list[int]] = {}
        self._actions: dict[type, Callable[[Any], Any]] = {
            Open: self._open,
            ReadAt: lambda r: bytes(r.file.inode.content[r.offset : r.offset + r.size]),
            WriteAt: self._write,
            Sync: self._sync,
            SyncDirectory: self._sync_directory,
            Rename: self._rename,
            Remove: self._remove,
            ListDirectory: lambda _: {name: len(inode.content) for name, inode in self.names.items()},
            Pause: lambda _: None,
        }

    def perform(self, request: Request) -> Any:
        """Carry the request out, unless the observer raises."""
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

    def try_lock(self, role: str) -> bool:
        """True once for each role."""
        if role in self.locked:
            return False
        self.locked.add(role)
        return True

    def read_page(self, name: str, size: int) -> bytes:
        """The page, if one was mapped since the power came on."""
        return b"".join(word.to_bytes(8, sys.byteorder) for word in self.pages.get(name, ()))

    def map_page(self, name: str, fresh: bytes) -> Words:
        """A page in memory, which lives until the power is cut."""
        words = [int.from_bytes(fresh[i : i + 8], sys.byteorder) for i in range(0, len(fresh), 8)]
        self.pages[name] = words
        return words

    def boot_id(self) -> bytes:
        """Another one for each simulated disk."""
        return self.boot

    def random_bytes(self, size: int) -> bytes:
        """From the seed."""
        return self.random.randbytes(size)

    def close(self) -> None:
        """Let the locks go."""
        self.locked.clear()

    def after_power_cut(self, seed: int) -> SimulatedStorage:
        """A new disk as the machine may find it after losing power now; `seed` chooses what was lost."""
        after = SimulatedStorage(seed)
        random = after.random
        names = dict(self.durable_names)
        for change in _keep_some(random, self.name_changes):
            if change.old is not None:
                names.pop(change.old, None)
            if change.new is not None and change.inode is not None:
                names[change.new] = change.inode
        for name, inode in names.items():
            content = bytearray(inode.durable)
            sectors = [piece for write in inode.unsynced for piece in _sectors(*write)]
            for offset, data in _keep_some(random, sectors):
                _overlay(content, offset, data)
            after.names[name] = Inode(content, bytearray(content))
        after.durable_names = dict(after.names)
        return after

    def _open(self, request: Open) -> SimulatedFile:
        if not request.create:
            if request.name not in self.names:
                raise FileNotFoundError(errno.ENOENT, "no such file", request.name)
            return SimulatedFile(request.name, self.names[request.name])
        if request.name in self.names:
            raise FileExistsError(errno.EEXIST, "file exists", request.name)
        inode = Inode(bytearray(request.preallocate))
        if request.preallocate:
            inode.unsynced.append((0, bytes(request.preallocate)))
        self.names[request.name] = inode
        self.name_changes.append(_NameChange(None, request.name, inode))
        return SimulatedFile(request.name, inode)

    def _write(self, request: WriteAt) -> None:
        inode: Inode = request.file.inode  # type: ignore[attr-defined]
        _overlay(inode.content, request.offset, request.data)
        inode.unsynced.append((request.offset, request.data))

    def _sync(self, request: Sync) -> None:
        inode: Inode = request.file.inode  # type: ignore[attr-defined]
        for offset, data in inode.unsynced:
            _overlay(inode.durable, offset, data)
        inode.unsynced.clear()

    def _sync_directory(self, _: SyncDirectory) -> None:
        self.durable_names = dict(self.names)
        self.name_changes.clear()

    def _rename(self, request: Rename) -> None:
        inode = self.names.pop(request.old)
        self.names[request.new] = inode
        self.name_changes.append(_NameChange(request.old, request.new, inode))

    def _remove(self, request: Remove) -> None:
        if request.name not in self.names:
            raise FileNotFoundError(errno.ENOENT, "no such file", request.name)
        del self.names[request.name]
        self.name_changes.append(_NameChange(request.name, None, None))

    def _leave_failure(self, request: Request, error: OSError) -> None:
        if isinstance(request, WriteAt):
            part = self.random.randrange(len(request.data) + 1)
            if part:
                self._write(WriteAt(request.file, request.offset, request.data[:part]))
        elif isinstance(request, Sync):
            request.file.inode.unsynced.clear()  # type: ignore[attr-defined]
        elif isinstance(request, Open) and request.create and error.errno == errno.ENOSPC:
            # A file may be there although its space could not be reserved.
            self._open(Open(request.name, create=True))


def _overlay(content: bytearray, offset: int, data: bytes) -> None:
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


def _sectors(offset: int, data: bytes) -> list[tuple[int, bytes]]:
    """The write cut at sector borders."""
    pieces = []
    start = 0
    while start < len(data):
        size = SECTOR_BYTES - (offset + start) % SECTOR_BYTES
        pieces.append((offset + start, data[start : start + size]))
        start += size
    return pieces


def _keep_some(random: Random, changes: list[Any]) -> list[Any]:
    """None, all, a prefix, or a coin toss for each: the ways in which unsynced changes reach a medium."""
    way = random.randrange(4)
    if way == 0:
        return []
    if way == 1:
        return changes
    if way == 2:
        return changes[: random.randrange(len(changes) + 1)]
    return [change for change in changes if random.random() < 0.5]
