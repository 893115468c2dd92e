"""The reports returned by `stats()`, `verify()` and `backup()`."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .errors import CorruptionError

Progress = Callable[[int, int], object]
"""Called with (bytes done, bytes in total). Its result is ignored; an exception ends the work."""


class KeyspaceStats(NamedTuple):
    """The contents of a keyspace: live keys, and the bytes of their keys, values and elements.

    `bytes` includes 20 for each record. `max_bytes` is the quota, or None.
    """

    keys: int
    bytes: int
    max_bytes: int | None


class LevelStats(NamedTuple):
    """One level of the LSM tree. `bytes` are file bytes; tombstones are included in `records`."""

    tables: int
    bytes: int
    records: int
    tombstones: int


class ProcessStats(NamedTuple):
    """Another process that has the store open, since `since_ms` (milliseconds since 1970).

    Its lock shows that it is alive. The fields are what the process reported about itself.
    """

    pid: int
    since_ms: int
    program: str


class Stats(NamedTuple):
    """The state of a store at one moment.

    Sizes are file bytes. Counters start at zero when this process opens the store, and count only
    what this process did, unless a field says otherwise. `tables_dropped_unread` counts tables that
    compaction removed without reading them, because nothing in them was alive.
    """

    path: str
    store_id: str
    file_system: str
    durable: bool
    """False on a file system that lives in memory, where fsync preserves nothing."""
    failed: str | None
    """Why the store takes no more writes, or None."""
    processes: tuple[ProcessStats, ...]
    """The other processes that have the store open for writing.

    Read-only handles do not register.
    """
    compactor_pid: int | None
    """The process that flushes or compacts right now, or None."""
    seqno: int
    keyspaces: tuple[str, ...]
    quotas: dict[str, int]
    """The quota of each keyspace that has one, in bytes, by name."""
    wal_number: int
    wal_bytes: int
    memtable_records: int
    sealed_memtables: int
    levels: tuple[LevelStats, ...]
    waiting_tables: int
    """Tables that this process has replaced but not yet removed, because this or another process
    still reads them."""
    waiting_bytes: int
    """The disk space that those tables take."""
    commits: int
    records_written: int
    rotations: int
    flushes: int
    compactions: int
    tables_dropped_unread: int
    records_expired: int
    records_evicted: int
    """Keys that this process deleted because their keyspace was over its quota."""
    level0_slowdown: int
    """The number of tables in level 0 from which writes slow down."""
    level0_stop: int
    """The number of tables in level 0 at which writes wait; after `busy_timeout` they raise
    `StoreBusy`."""
    compaction_score: float
    """How many times over its limit the fullest level is, with data on its way down to it."""
    score_slowdown: int
    """The compaction score from which writes slow down."""
    writes_slowed: int
    """Commits of this process that were delayed because compaction was behind."""
    writes_stopped: int
    """Commits of this process that had to wait for a flush or a compaction."""
    stalled_seconds: float
    """Seconds that commits of this process were delayed or had to wait."""
    damaged_tables: int
    """Tables that compaction found unreadable. It continues without them; `verify()` names them."""


class VerifyReport(NamedTuple):
    """What `verify()` checked, and the damage it found."""

    files: int
    """Number of files: CURRENT, the manifest, the WALs still needed, and the tables."""
    bytes: int
    """File bytes to check. A WAL counts up to its durable end."""
    records: int
    """Records read from tables and WALs, including replaced and deleted ones."""
    problems: tuple[CorruptionError, ...]
    """One error for each problem: `path` is the file's name inside the store, and `offset` the
    place of the damage, or None if the whole file is affected."""

    @property
    def ok(self) -> bool:
        """True if no problem was found."""
        return not self.problems


class BackupReport(NamedTuple):
    """The copy that `backup()` made."""

    path: str
    """The real path of the target directory."""
    tables: int
    records: int
    """Records in its tables: keys, elements and owners of collections, names of keyspaces."""
    bytes: int
    """File bytes of the whole copy."""
