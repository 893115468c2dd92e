"""Point reads.

`probe` answers from memory if it can; `search` continues on disk where it had to stop.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..clock import Now
from ..format.checksums import hash_key
from ..format.commits import Entry
from ..storage.requests import Op
from .table import Table, Unread
from .view import View


class PendingRead:
    """Where a search has to continue: the tables that could not be ruled out, from new to old."""

    __slots__ = ("key", "key_hash", "tables", "view")

    def __init__(self, view: View, key: bytes, tables: Sequence[Table], key_hash: int) -> None:
        self.view = view
        self.key = key
        self.tables = tables
        self.key_hash = key_hash


def probe(view: View, key: bytes, clock: Now) -> bytes | PendingRead | None:
    """Return the live value, None if there is none, or where to continue on disk. No I/O, no lock.

    About 0.2 µs if a memtable has the key, 0.5 µs if the hot records do, 3 µs if a cached block
    does.
    """
    for get in view.getters:
        entry = get(key)
        if entry is not None:
            break
    else:
        found = probe_tables(view, key)
        if found is None or isinstance(found, PendingRead):
            return found
        entry = found
    expires_ms = entry[1]
    if expires_ms and expires_ms <= clock():
        return None
    return entry[0]


def probe_entry(view: View, key: bytes) -> Entry | PendingRead | None:
    """Return the newest version, live or not; None if there is none; or where to continue."""
    for get in view.getters:
        entry = get(key)
        if entry is not None:
            return entry
    return probe_tables(view, key)


def probe_tables(view: View, key: bytes) -> Entry | PendingRead | None:
    """Return what `probe_entry` does, for a key that no memtable has."""
    entry = view.hot.get(key)
    if entry is not None:
        return entry
    tables = view.version.candidates(key)
    if not tables:
        return None
    key_hash = hash_key(key)
    for i, table in enumerate(tables):
        found = table.probe(key, key_hash)
        if found is None:
            continue
        if isinstance(found, Unread):
            return PendingRead(view, key, tables[i:], key_hash)
        view.hot.put(key, found)
        return found
    return None


def search(resume: PendingRead) -> Op[Entry | None]:
    """Return the newest version of a key for which `probe_entry` had to stop.

    Reads at most one block of each table, beside filters and indexes that are not in memory.
    """
    for table in resume.tables:
        entry = yield from table.search(resume.key, resume.key_hash)
        if entry is not None:
            resume.view.hot.put(resume.key, entry)
            return entry
    return None


def search_value(resume: PendingRead, clock: Now) -> Op[bytes | None]:
    """Return the live value of a key for which `probe` had to stop, or None."""
    entry = yield from search(resume)
    if entry is None or not live(entry, clock()):
        return None
    return entry[0]


def read_entry(view: View, key: bytes) -> Op[Entry | None]:
    """Return the newest version of a key, from memory or disk; None if there is none."""
    found = probe_entry(view, key)
    if isinstance(found, PendingRead):
        return (yield from search(found))
    return found


def live(entry: Entry | None, now_ms: int) -> bool:
    """Return True if the newest version is a value that has not expired."""
    return entry is not None and entry[0] is not None and not has_expired(entry[1], now_ms)


def has_expired(expires_ms: int, now_ms: int) -> bool:
    """Return True from the moment `expires_ms` on; never if it is 0.

    Hot loops (`probe`, scan.py) inline this.
    """
    return 0 < expires_ms <= now_ms
