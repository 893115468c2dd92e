"""A Celery application whose store is open in the parent of its prefork pool. STORE and BROKER name directories."""

from __future__ import annotations

import os

from celery import Celery

from ferrokv import BlockingFerroKV

BROKER = os.environ["BROKER"]
app = Celery("prefork", broker="filesystem://")
app.conf.update(
    broker_transport_options={
        "data_folder_in": BROKER,
        "data_folder_out": BROKER,
        "control_folder": f"{BROKER}/control",
    },
    worker_prefetch_multiplier=1,
    task_ignore_result=True,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
)
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
