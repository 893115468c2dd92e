"""Every error that ferrokv raises on purpose, and what the caller should do about each.

::

    FerroKVError
    ├── DataError            a key, value or argument has a wrong type or size: fix the call
    ├── ResponseError        Redis refuses the command, in Redis's own words: fix the call
    │   ├── StoreReadOnly    a write through a handle that was opened read-only
    │   └── WatchError       a watched key changed before the pipeline ran: read again and retry
    ├── LockError            a lock was not acquired in time, or the caller does not hold it
    │   └── LockNotOwnedError    the lock was lost, so what it protects may have been touched
    ├── StorePathError       the directory cannot serve as a store: choose another or repair it
    ├── UnsupportedFormat    the store was written by a newer ferrokv: upgrade this one
    ├── CorruptionError      bytes on disk are not what was written: restore from a backup
    ├── StoreBusy            another holder did not let go in time: retry
    │   └── StoreUncertain   as StoreBusy, but the write may have happened: check before retrying
    ├── StoreFull            no space: delete keys (which still works), or free space, then retry
    ├── StoreFailed          a sync failed; no more writes: close, check the disk, reopen
    │   └── StoreReplaced    the open directory was removed or replaced: close and reopen
    └── StoreClosed          the handle is closed: open the store again
"""

from __future__ import annotations


class FerroKVError(Exception):
    """The base class of all errors in this package."""


class DataError(FerroKVError, ValueError):
    """A key, value or argument has a wrong type or size. Nothing was written; fix the call.

    The name comes from redis-py, which raises it for the same mistakes. It is also a `ValueError`,
    for callers that know only Python's own exceptions.
    """


class ResponseError(FerroKVError):
    """The command does not fit the stored value.

    The message is Redis's own. Nothing was written.
    """


class WatchError(ResponseError):
    """A watched key changed before the pipeline ran. Nothing was written; read again and retry."""


class LockError(FerroKVError, ValueError):
    """A lock could not be acquired in time, or the caller does not hold it. The name is redis-py's.

    Raised on entering a lock's `with` block, and when a lock that is not held is released or
    extended.
    """


class LockNotOwnedError(LockError):
    """The lock timed out and may have a new owner.

    What it protects may have been touched meanwhile.
    """


class StorePathError(FerroKVError, OSError):
    """The path cannot serve as a store. Choose another directory, or repair this one.

    For example, it is not a directory, it is not writable, or the files that identify it are
    damaged.
    """


class UnsupportedFormat(FerroKVError):  # noqa: N818 - the condition is the name
    """The store uses a feature that this version does not know.

    Nothing was touched; upgrade ferrokv.
    """


class CorruptionError(FerroKVError):
    """Bytes on disk are not what was written. Nothing was changed; restore the file from a backup.

    `path` is the file's name inside the store and `offset` the place of the damage; either may be
    None.
    """

    def __init__(self, reason: str, *, path: str | None = None, offset: int | None = None) -> None:
        facts = "".join(f" {name}={value}" for name, value in (("path", path), ("offset", offset)) if value is not None)
        super().__init__(reason + facts)
        self.reason = reason
        self.path = path
        self.offset = offset

    def at(self, path: str) -> CorruptionError:
        """Return the same error with the file's name, which decoders of bytes do not know."""
        return CorruptionError(self.reason, path=path, offset=self.offset)


class StoreBusy(FerroKVError):  # noqa: N818
    """Something this call needs was not released in time. Nothing was written; retry."""


class StoreUncertain(StoreBusy):
    """The write is in the log, but another, stalled process did not make it durable in time.

    The write is present in full or not at all. Check which before retrying.
    """


class StoreFull(FerroKVError):  # noqa: N818
    """There was no room for the write. Delete keys, clear keyspaces or free space, then retry.

    While the disk is full, reading, deleting, clearing and setting quotas still work, and their
    space becomes available soon after. Whether the refused write happened is unknown until a later
    write succeeds; from then on it is certain that it did not.
    """


class StoreReadOnly(ResponseError):  # noqa: N818
    """The handle was opened with `read_only=True`, so it takes no writes. Nothing was written."""


class StoreFailed(FerroKVError):  # noqa: N818
    """A write or a sync failed, so the disk's state is uncertain. Reads work; reopen to write.

    The write that hit the failure is present in full or not at all; which of the two is unknown.
    """


class StoreReplaced(StoreFailed):
    """The directory was removed or replaced while the store was open. Close and reopen it.

    Replaced means that another directory, or an older copy, took its place. Reads fail too. Writes
    of the last second may be lost with the directory.
    """


class StoreClosed(FerroKVError):  # noqa: N818
    """The handle is closed, or it is a snapshot taken before a fork and used in the child.

    Open again.
    """
