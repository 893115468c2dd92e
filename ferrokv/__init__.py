"""ferrokv: an embedded, async, persistent key-value store with the semantics of Redis.

`FerroKV` is for asyncio, `BlockingFerroKV` for threads; both have the same methods. See README.md and docs/.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from .batch import WriteBatch
from .blocking import BlockingFerroKV, BlockingSnapshot
from .errors import (
    CorruptionError,
    DataError,
    FerroKVError,
    ResponseError,
    StoreBusy,
    StoreClosed,
    StoreFailed,
    StoreFull,
    StorePathError,
    StoreReadOnly,
    StoreUncertain,
    UnsupportedFormat,
)
from .options import Options
from .stats import LevelStats, ProcessStats, Stats

if TYPE_CHECKING:
    from .api import FerroKV, Snapshot

__version__ = "0.1.0"

__all__ = [
    "BlockingFerroKV",
    "BlockingSnapshot",
    "CorruptionError",
    "DataError",
    "FerroKV",
    "FerroKVError",
    "LevelStats",
    "Options",
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
    "UnsupportedFormat",
    "WriteBatch",
]

logging.getLogger("ferrokv").addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    """Import the asyncio face when it is first asked for: asyncio takes longer to import than all of ferrokv."""
    if name in ("FerroKV", "Snapshot"):
        from . import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
