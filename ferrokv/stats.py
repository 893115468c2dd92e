"""What `stats()`, `verify()` and `backup()` answer."""

from __future__ import annotations

from typing import NamedTuple

from .errors import CorruptionError


class LevelStats(NamedTuple):
    """One level of tables."""

    tables: int
    bytes: int
    records: int
    tombstones: int


class ProcessStats(NamedTuple):
    """Another process that has the store open. That it lives is known by its lock; the rest is what it said of itself."""

    pid: int
    since_ms: int
    program: str


class Stats(NamedTuple):
    """The state of a store at one moment. Bytes are file bytes; counters count since this process opened it."""

    path: str
    store_id: str
    file_system: str
    durable: bool
    """False on a file system that lives in memory, where fsync keeps nothing."""
    failed: str | None
    """Why the store takes no more writes, or None."""
    processes: tuple[ProcessStats, ...]
    """The other processes that have the store open to write. Readers do not announce themselves."""
    compactor_pid: int | None
    """The living process that flushes or compacts at the moment, or None."""
    seqno: int
    keyspaces: tuple[str, ...]
    quotas: dict[str, int]
    """The bytes that keyspaces with a quota may hold, by name."""
    wal_number: int
    wal_bytes: int
    memtable_records: int
    sealed_memtables: int
    levels: tuple[LevelStats, ...]
    waiting_tables: int
    """Tables that this process replaced and that wait because somebody, here or in another process, still reads them."""
    waiting_bytes: int
    """The disk space that they keep."""
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
    """From so many tables in level 0 on, writes slow down."""
    level0_stop: int
    """With so many tables in level 0, writes wait, and raise `StoreBusy` after `busy_timeout`."""
    compaction_score: float
    """How many times too full the fullest level is, with what lies too high above it."""
    score_slowdown: int
    """From such a score on, writes slow down."""
    writes_slowed: int
    """Commits of this process that were delayed because compaction was behind."""
    writes_stopped: int
    """Commits of this process that had to wait for a flush or a compaction."""
    stalled_seconds: float
    """Seconds that commits of this process were delayed, or waited."""
    damaged_tables: int
    """Tables that could not be read when they were to be compacted. Compaction goes on without them; `verify()` names them."""


class VerifyReport(NamedTuple):
    """What `verify()` read, and what of it is not as it was written."""

    files: int
    """CURRENT, the manifest, the WALs that are needed, and the tables."""
    bytes: int
    """File bytes that were to be checked: of a WAL those before its durable end."""
    records: int
    """Records that were read in tables and WALs, replaced and deleted ones among them."""
    problems: tuple[CorruptionError, ...]
    """Each with the file's name inside the store as `path`, and where the damage was seen as `offset`, None for a whole file."""

    @property
    def ok(self) -> bool:
        """True if there is no problem."""
        return not self.problems


class BackupReport(NamedTuple):
    """The copy that `backup()` made."""

    path: str
    """The real path of its directory."""
    tables: int
    records: int
    """Records in its tables: keys, elements and owners of collections, and the names of keyspaces."""
    bytes: int
    """File bytes of the whole copy."""
