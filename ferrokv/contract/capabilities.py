"""What a backend may have or lack. A handle's `capabilities` is a frozenset of these.

The adapters need TRANSACTIONS. Without DEFERRAL, `within` gives commands that take effect at once,
and a deferral has nothing to settle. Without QUOTAS, `set_quota` does nothing. Without
OWNER_LIVENESS or DURABILITY, everything works but for the promise. The methods of the others raise
`ResponseError`.
"""

from __future__ import annotations

from enum import Enum
from typing import Final


class Capability(Enum):
    """A feature that a backend may lack. Check before you rely on it."""

    DURABILITY = "durability"
    """A write that was acknowledged survives a power cut."""

    TRANSACTIONS = "transactions"
    """`transaction(function)` runs the function once, serializable, on any keys and keyspaces."""

    DEFERRAL = "deferral"
    """`deferral` and `within` let many writes share one wait for durability."""

    OWNER_LIVENESS = "owner liveness"
    """A lock without a timeout is freed when the process that holds it dies."""

    ORDERED_SCANS = "ordered scans"
    """`scan` returns keys in order, from one moment, between bounds, and in both directions."""

    SNAPSHOTS = "snapshots"
    """`snapshot` gives a view of the keyspace that later writes do not change."""

    QUOTAS = "quotas"
    """`set_quota` limits a keyspace, and evicts from it."""

    BACKUPS = "backups"
    """`verify` checks all data, and `backup` copies it, while others go on writing."""


EVERY_CAPABILITY: Final = frozenset(Capability)
