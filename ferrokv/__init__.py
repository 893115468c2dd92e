"""ferrokv: an embedded, async, persistent key-value store with Redis semantics.

`FerroKV` is for asyncio and `BlockingFerroKV` for threads; both have the same methods. See
README.md and docs/.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .connecting import connect, connect_blocking, register_backend
    from .contract.batch import WriteBatch
    from .contract.capabilities import Capability
    from .errors import (
        CorruptionError,
        DataError,
        FerroKVError,
        LockError,
        LockNotOwnedError,
        ResponseError,
        StoreBusy,
        StoreClosed,
        StoreFailed,
        StoreFull,
        StorePathError,
        StoreReadOnly,
        StoreReplaced,
        StoreUncertain,
        UnsupportedFormat,
        WatchError,
    )
    from .local.api import FerroKV
    from .local.blocking import BlockingFerroKV
    from .local.faces.aio.deferred import DeferredCommands
    from .local.faces.aio.locks import Lock
    from .local.faces.aio.pipelines import Pipeline
    from .local.faces.aio.snapshots import Snapshot
    from .local.faces.blocking.deferred import BlockingDeferredCommands
    from .local.faces.blocking.locks import BlockingLock
    from .local.faces.blocking.pipelines import BlockingPipeline
    from .local.faces.blocking.snapshots import BlockingSnapshot
    from .local.faces.deferral import Deferral
    from .local.faces.pipelines import Tx
    from .local.storage.directory import DirectoryReport, inspect_directory
    from .options import Options
    from .stats import BackupReport, KeyspaceStats, LevelStats, ProcessStats, Stats, VerifyReport

__version__ = "0.1.0"

__all__ = [
    "BackupReport",
    "BlockingDeferredCommands",
    "BlockingFerroKV",
    "BlockingLock",
    "BlockingPipeline",
    "BlockingSnapshot",
    "Capability",
    "CorruptionError",
    "DataError",
    "Deferral",
    "DeferredCommands",
    "DirectoryReport",
    "FerroKV",
    "FerroKVError",
    "KeyspaceStats",
    "LevelStats",
    "Lock",
    "LockError",
    "LockNotOwnedError",
    "Options",
    "Pipeline",
    "ProcessStats",
    "ResponseError",
    "Snapshot",
    "Stats",
    "StoreBusy",
    "StoreClosed",
    "StoreFailed",
    "StoreFull",
    "StorePathError",
    "StoreReadOnly",
    "StoreReplaced",
    "StoreUncertain",
    "Tx",
    "UnsupportedFormat",
    "VerifyReport",
    "WatchError",
    "WriteBatch",
    "connect",
    "connect_blocking",
    "inspect_directory",
    "register_backend",
]

# Every name is imported when it is first asked for: a process that wants one error need not pay for the engine, and asyncio
# takes longer to import than all of ferrokv.
_HOMES: Final = {
    ".connecting": "connect connect_blocking register_backend",
    ".contract.capabilities": "Capability",
    ".errors": "CorruptionError DataError FerroKVError LockError LockNotOwnedError ResponseError StoreBusy StoreClosed "
    "StoreFailed StoreFull StorePathError StoreReadOnly StoreReplaced StoreUncertain UnsupportedFormat WatchError",
    ".local.api": "FerroKV",
    ".local.faces.aio.snapshots": "Snapshot",
    ".local.faces.blocking.snapshots": "BlockingSnapshot",
    ".contract.batch": "WriteBatch",
    ".local.blocking": "BlockingFerroKV",
    ".local.faces.aio.deferred": "DeferredCommands",
    ".local.faces.aio.locks": "Lock",
    ".local.faces.blocking.deferred": "BlockingDeferredCommands",
    ".local.faces.blocking.locks": "BlockingLock",
    ".local.faces.deferral": "Deferral",
    ".local.faces.aio.pipelines": "Pipeline",
    ".local.faces.blocking.pipelines": "BlockingPipeline",
    ".local.faces.pipelines": "Tx",
    ".local.storage.directory": "DirectoryReport inspect_directory",
    ".options": "Options",
    ".stats": "BackupReport KeyspaceStats LevelStats ProcessStats Stats VerifyReport",
}
_HOME_OF: Final = {name: home for home, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(home, __name__), name)
    globals()[name] = found  # the next time, it is found without this function
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
