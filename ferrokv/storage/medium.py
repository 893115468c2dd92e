"""What the disk of a simulation does with bytes: which of them it has, which of them it keeps, and how much room they take."""

from __future__ import annotations

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
