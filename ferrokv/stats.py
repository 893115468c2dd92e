"""What `stats()` answers."""

from __future__ import annotations

from typing import NamedTuple


class LevelStats(NamedTuple):
    """One level of tables."""

    tables: int
    bytes: int
    records: int
    tombstones: int


class Stats(NamedTuple):
    """The state of a store at one moment. Bytes are file bytes; counters count since this process opened it."""

    path: str
    store_id: str
    file_system: str
    durable: bool
    """False on a file system that lives in memory, where fsync keeps nothing."""
    failed: str | None
    """Why the store takes no more writes, or None."""
    seqno: int
    keyspaces: tuple[str, ...]
    wal_number: int
    wal_bytes: int
    memtable_records: int
    sealed_memtables: int
    levels: tuple[LevelStats, ...]
    commits: int
    records_written: int
    rotations: int
    flushes: int
    compactions: int
    tables_dropped_unread: int
    records_expired: int
