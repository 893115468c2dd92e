"""The soak: processes of all kinds on one directory, a director who kills and stops them, steps their clocks and fills the disk,
and an oracle outside of the directory. `make soak MINUTES=30 SEED=1`, or `python -m tests.processes.soak`.

Nothing here imports ferrokv: `worker` has to change the clock before anything does.
"""

from __future__ import annotations

ROLES = ("writer", "asyncio", "reader", "keeper", "collections", "django", "forker")
"""By slot."""

ASYNC_TASKS = 5
FORKS = 3

LANES = {
    0: ("0",),
    1: tuple(f"t{i}" for i in range(ASYNC_TASKS)),
    4: ("0",),
    6: ("0", *(f"c{i}" for i in range(FORKS))),
}
"""The lanes of the slots that have keys of their own in the default keyspace: each is written by one thread, task or child."""

OPTIONS = {
    "memtable_bytes": 200_000,
    "table_bytes": 150_000,
    "level1_bytes": 600_000,
    "block_cache_bytes": 1_000_000,
    "hot_cache_bytes": 200_000,
    "busy_timeout": 2.0,
}
"""Small, so that files of every kind come and go all the time, and full caches are not taken for a leak."""
