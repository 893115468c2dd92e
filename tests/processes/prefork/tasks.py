"""Tasks whose store is open in the parent of Celery's prefork pool. STORE names its directory."""

from __future__ import annotations

import os

from ferrokv import BlockingFerroKV

from .broker import app

db = BlockingFerroKV.open(os.environ["STORE"], memtable_bytes=20_000, level0_tables=2)
db.set("opened by", os.getpid())


@app.task
def count(number: int) -> None:
    """Counts itself once, in a process that is no longer the one that opened the store."""
    with db.lock("a lock", timeout=60):
        db.incr("counted")
    db.sadd("numbers", number)
    db.set(f"task:{number}", "v" * 500)
    db.sadd("processes", os.getpid())
    db.rpush("done", number)
