"""Measuring how much space the live records of a keyspace take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from ..format.keys import GENERATION_END, KIND_ELEMENT, KIND_OWNER, PREFIX_BYTES, successor_of_prefix
from ..format.roots import Root, decode_root
from ..storage.requests import PAUSE, Op
from .scan import Scan

RECORD_BYTES: Final = 20  # what a record takes beside its key and value, about
ScanRange = Callable[[bytes, bytes | None], Scan]
"""(low, high) -> a scan of the live records with internal keys in [low, high)"""


class Usage(NamedTuple):
    """The number of live keys, and the bytes of their records, with elements and 20 for each."""

    keys: int
    bytes: int


def measure(scan_range: ScanRange, prefix: bytes) -> Op[Usage]:
    """Measure the keyspace whose user keys have `prefix`.

    Reads the whole keyspace, and keeps 8 bytes in memory for each collection.
    """
    keys = size = 0
    living: set[bytes] = set()
    scan = scan_range(prefix, successor_of_prefix(prefix))
    while (page := (yield from scan.next_page(PREFIX_BYTES))) is not None:
        keys += len(page)
        size += sum(len(key) + len(value) + RECORD_BYTES for key, value in page)
        living.update(decode_root(v).generation.to_bytes(8, "big") for _, v in page if v.__class__ is Root)
        yield PAUSE
    for kind in (KIND_ELEMENT, KIND_OWNER) if living else ():
        part = prefix[:4] + kind
        scan = scan_range(part, successor_of_prefix(part))
        while (page := (yield from scan.next_page(PREFIX_BYTES))) is not None:
            size += sum(
                len(key) + len(value) + RECORD_BYTES
                for key, value in page
                if key[: GENERATION_END - PREFIX_BYTES] in living
            )
            yield PAUSE
    return Usage(keys, size)
