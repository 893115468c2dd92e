"""The limits that every backend has, so that what one stores can move to another."""

from __future__ import annotations

from typing import Final

KEY_BYTES_MAX: Final = 65_535
"""Also of fields and members. A key has at least one byte."""
VALUE_BYTES_MAX: Final = 64 << 20
KEYSPACE_NAME_BYTES_MAX: Final = 255
EXPIRY_MS_MAX: Final = (1 << 63) - 1
"""The last moment at which a key can expire, in milliseconds since 1970."""
BATCH_BYTES_MAX: Final = 64 << 20
BATCH_RECORDS_MAX: Final = 1 << 17
"""Records that one command, batch or transaction may write. All other writers wait meanwhile, so
this limits their wait to about a second (benchmarks/turns.py)."""
