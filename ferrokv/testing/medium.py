"""What the disk of a simulation does with bytes: which of them it has, which of them it keeps, and how much room they take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

SECTOR_BYTES: Final = 512


@dataclass(slots=True)
class Inode:
    """Bytes as programs see them, and what of them is on the medium."""

    content: bytearray = field(default_factory=bytearray)
    durable: bytearray = field(default_factory=bytearray)
    unsynced: list[tuple[int, bytes]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class NameChange:
    """A change of the directory that no directory sync has covered: `old` goes, `new` comes."""

    old: str | None
    new: str | None
    inode: Inode | None


def taken(size: int) -> int:
    """What a file of `size` bytes takes of the disk."""
    return -(-size // SECTOR_BYTES) * SECTOR_BYTES


def overlay(content: bytearray, offset: int, data: bytes) -> None:
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


def sectors_of(offset: int, data: bytes) -> list[tuple[int, bytes]]:
    """The write cut at sector borders."""
    pieces = []
    start = 0
    while start < len(data):
        size = SECTOR_BYTES - (offset + start) % SECTOR_BYTES
        pieces.append((offset + start, data[start : start + size]))
        start += size
    return pieces


def keep_some(random: Random, changes: list[Any]) -> list[Any]:
    """None, all, a prefix, or a coin toss for each: the ways in which unsynced changes reach a medium."""
    way = random.randrange(4)
    if way == 0:
        return []
    if way == 1:
        return changes
    if way == 2:
        return changes[: random.randrange(len(changes) + 1)]
    return [change for change in changes if random.random() < 0.5]


def kept(random: Random, durable_names: Mapping[str, Inode], changes: list[NameChange]) -> dict[str, Inode]:
    """What a power cut leaves of the files: all that was synced, and any of the rest."""
    names = dict(durable_names)
    for change in keep_some(random, changes):
        if change.old is not None:
            names.pop(change.old, None)
        if change.new is not None and change.inode is not None:
            names[change.new] = change.inode
    found = {}
    for name, inode in names.items():
        content = bytearray(inode.durable)
        sectors = [piece for write in inode.unsynced for piece in sectors_of(*write)]
        for offset, data in keep_some(random, sectors):
            overlay(content, offset, data)
        found[name] = Inode(content, bytearray(content))
    return found
