"""ferrokv: an embedded, async, persistent key-value store with the semantics of Redis.

`FerroKV` is for asyncio, `BlockingFerroKV` for threads; both have the same methods. See README.md and docs/.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from .batch import WriteBatch
from .blocking import BlockingFerroKV, BlockingSnapshot
from .commands.keyspaces import KeyspaceStats
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
    StoreUncertain,
    UnsupportedFormat,
    WatchError,
)
from .faces.blocking.locks import BlockingLock
from .options import Options
from .stats import LevelStats, ProcessStats, Stats

if TYPE_CHECKING:
    from .api import FerroKV, Snapshot
    from .faces.aio.locks import AsyncLock
    from .faces.pipelines import AsyncPipeline, Pipeline, Tx

__version__ = "0.1.0"

__all__ = [
    "AsyncLock",
    "AsyncPipeline",
    "BlockingFerroKV",
    "BlockingLock",
    "BlockingSnapshot",
    "CorruptionError",
    "DataError",
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
    "StoreUncertain",
    "Tx",
    "UnsupportedFormat",
    "WatchError",
    "WriteBatch",
]

logging.getLogger("ferrokv").addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    """Import the asyncio face when it is first asked for: asyncio takes longer to import than all of ferrokv. Pipelines, too."""
    if name in ("FerroKV", "Snapshot"):
        from . import api

        return getattr(api, name)
    if name == "AsyncLock":
        from .faces.aio.locks import AsyncLock

        return AsyncLock
    if name in ("AsyncPipeline", "Pipeline", "Tx"):
        from .faces import pipelines

        return getattr(pipelines, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
