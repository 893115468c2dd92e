"""The Celery application without its tasks: who sends them needs no store. BROKER names a directory."""

from __future__ import annotations

import os

from celery import Celery

BROKER = os.environ["BROKER"]
app = Celery("prefork", broker="filesystem://")
app.conf.update(
    broker_transport_options={
        "data_folder_in": BROKER,
        "data_folder_out": BROKER,
        "control_folder": f"{BROKER}/control",
        "polling_interval": 0.02,  # seconds; a whole one by default
    },
    worker_prefetch_multiplier=1,
    task_ignore_result=True,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
)
