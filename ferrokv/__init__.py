"""ferrokv: an embedded, async, persistent key-value store with the semantics of Redis.

`FerroKV` is for asyncio, `BlockingFerroKV` for threads; both have the same methods. See README.md and docs/.
"""

from __future__ import annotations

import logging

from .api import FerroKV, Snapshot
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
    UnsupportedFormat,
)
from .options import Options
from .stats import LevelStats, Stats

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
    "ResponseError",
    "Snapshot",
    "Stats",
    "StoreBusy",
    "StoreClosed",
    "StoreFailed",
    "StoreFull",
    "StorePathError",
    "UnsupportedFormat",
    "WriteBatch",
]

logging.getLogger("ferrokv").addHandler(logging.NullHandler())
