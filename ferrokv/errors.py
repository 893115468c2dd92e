"""Every error that ferrokv raises on purpose. Each class says what the caller should do.

::

    FerroKVError
    ├── DataError            a key, value or argument of a wrong type or size: mend the call
    ├── ResponseError        Redis's own refusals, in Redis's own words: mend the call
    │   ├── StoreReadOnly    a write through a handle that was opened to read only
    │   └── WatchError       a watched key changed before the pipeline ran: read again, try again
    ├── LockError            a lock was not had, or was asked for something that needs it: see which
    │   └── LockNotOwnedError    the lock was lost meanwhile: what it was to protect may have been touched
    ├── StorePathError       the directory can not serve as a store: choose or repair it
    ├── UnsupportedFormat    written by a newer ferrokv: upgrade this one
    ├── CorruptionError      bytes on disk are not what was written: restore from a backup
    ├── StoreBusy            another holder did not let go in time: try again
    │   └── StoreUncertain   the same, but the write may stand: look before trying again
    ├── StoreFull            no space: free some and try again
    ├── StoreFailed          a sync failed; the store takes no more writes: close, check the disk, reopen
    │   └── StoreReplaced    the directory was removed or replaced under the store: close, open what is there now
    └── StoreClosed          the handle was closed: open again
"""

from __future__ import annotations


class FerroKVError(Exception):
    """The base of all errors of this package."""


class DataError(FerroKVError, ValueError):
    """A key, a value or an argument has a wrong type or size. Nothing was written; mend the call.

    The name and the occasion are redis-py's; it is a `ValueError` too, for callers that know only Python's errors.
    """


class ResponseError(FerroKVError):
    """The command does not fit the stored value, in the words that a Redis server uses. Nothing was written."""


class WatchError(ResponseError):
    """A watched key changed before the pipeline was executed. Nothing was written; read again and try again."""


class LockError(FerroKVError, ValueError):
    """A lock could not be had in time, or is not held by who wants to release or extend it. The name is redis-py's."""


class LockNotOwnedError(LockError):
    """The lock ran out of time and may belong to somebody else. What it was to protect may have been touched meanwhile."""


class StorePathError(FerroKVError, OSError):
    """The path can not serve as a store: not a directory, not writable, damaged identity. Choose or repair it."""


class UnsupportedFormat(FerroKVError):  # noqa: N818 - the condition is the name
    """The store uses something that this version does not know. Upgrade ferrokv; nothing was touched."""


class CorruptionError(FerroKVError):
    """Bytes on disk are not what was written. Restore the named file from a backup; nothing was changed.

    `path` is the file's name inside the store, `offset` where the damage was seen; either may be None.
    """

    def __init__(self, reason: str, *, path: str | None = None, offset: int | None = None) -> None:
        facts = "".join(f" {name}={value}" for name, value in (("path", path), ("offset", offset)) if value is not None)
        super().__init__(reason + facts)
        self.reason = reason
        self.path = path
        self.offset = offset

    def at(self, path: str) -> CorruptionError:
        """The same error with the file's name, which a decoder of bytes does not know."""
        return CorruptionError(self.reason, path=path, offset=self.offset)


class StoreBusy(FerroKVError):  # noqa: N818
    """Somebody else holds what this call needs, and did not let go in time. Nothing was written; try again."""


class StoreUncertain(StoreBusy):
    """The write is in the log, but another process, which was stopped, did not finish making it durable in time.

    It is wholly there or wholly not; look before trying again.
    """


class StoreFull(FerroKVError):  # noqa: N818
    """There was no room for the write. Free space and try again.

    Whether the refused write is there is known only once a later write succeeded: then it is not.
    """


class StoreReadOnly(ResponseError):  # noqa: N818
    """The store was opened with `read_only=True`, so this handle takes no writes. Nothing was written."""


class StoreFailed(FerroKVError):  # noqa: N818
    """A write or a sync failed, so what is on disk is uncertain. Reads go on; writes do not until a reopening.

    Whether the write that met the failure is there is unknown: it is wholly there or wholly not.
    """


class StoreReplaced(StoreFailed):
    """The directory was removed while the store was open, or another one or an older copy took its place. Close and open again.

    Nothing can be read any more, either. Writes of the last second may be lost with the directory.
    """


class StoreClosed(FerroKVError):  # noqa: N818
    """The handle is closed, or is a snapshot from before a fork that is used in the child. Open the store again."""
