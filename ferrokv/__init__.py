"""ferrokv: an embedded, async, persistent key-value store with Redis semantics.

`FerroKV` is for asyncio and `BlockingFerroKV` for threads; both have the same methods. See
README.md and docs/.
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

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
from .local.batch import WriteBatch
from .local.blocking import BlockingFerroKV, BlockingSnapshot
from .local.commands.keyspaces import KeyspaceStats
from .local.faces.blocking.locks import BlockingLock
from .local.storage.directory import DirectoryReport, inspect_directory
from .options import Options
from .stats import BackupReport, LevelStats, ProcessStats, Stats, VerifyReport

if TYPE_CHECKING:
    from .local.api import FerroKV, Snapshot
    from .local.faces.aio.deferred import AsyncDeferredCommands
    from .local.faces.aio.locks import AsyncLock
    from .local.faces.blocking.deferred import BlockingDeferredCommands
    from .local.faces.deferral import Deferral
    from .local.faces.pipelines import AsyncPipeline, Pipeline, Tx

__version__ = "0.1.0"

__all__ = [
    "AsyncDeferredCommands",
    "AsyncLock",
    "AsyncPipeline",
    "BackupReport",
    "BlockingDeferredCommands",
    "BlockingFerroKV",
    "BlockingLock",
    "BlockingSnapshot",
    "CorruptionError",
    "DataError",
    "Deferral",
    "DirectoryReport",
    "FerroKV",
    "FerroKVError",
    "KeyspaceStats",
    "LevelStats",
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
    "inspect_directory",
]

logging.getLogger("ferrokv").addHandler(logging.NullHandler())


# Imported lazily, on first use: asyncio alone takes longer to import than all of ferrokv, and few
# processes need pipelines.
_LATER = {
    "AsyncDeferredCommands": ".local.faces.aio.deferred",
    "AsyncLock": ".local.faces.aio.locks",
    "AsyncPipeline": ".local.faces.pipelines",
    "BlockingDeferredCommands": ".local.faces.blocking.deferred",
    "Deferral": ".local.faces.deferral",
    "FerroKV": ".local.api",
    "Pipeline": ".local.faces.pipelines",
    "Snapshot": ".local.api",
    "Tx": ".local.faces.pipelines",
}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(_LATER[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
