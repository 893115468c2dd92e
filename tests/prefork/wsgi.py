"""A WSGI application whose store and Django cache are open before the server forks. STORE names the directory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

from django.conf import settings

OPTIONS = {"memtable_bytes": 20_000, "level0_tables": 2}
settings.configure(
    SECRET_KEY="prefork",
    CACHES={
        "default": {
            "BACKEND": "ferrokv.contrib.django.FerroKVCache",
            "LOCATION": os.environ["STORE"],
            "OPTIONS": OPTIONS,
        }
    },
)

from django.core.cache import cache  # noqa: E402 - the settings come first

from ferrokv import BlockingFerroKV  # noqa: E402

db = BlockingFerroKV.open(os.environ["STORE"], **OPTIONS)
db.set("opened by", os.getpid())
cache.set("opened by", os.getpid(), None)


def visit() -> str:
    """One visit, counted twice, with a record that makes flushes and merges due."""
    number = db.incr("visits")
    db.set(f"visit:{number}", "v" * 500)
    with db.lock("a lock", timeout=60):
        cache.add("cached visits", 0, None)
        cache.incr("cached visits")
    assert db.get(f"visit:{number}") == b"v" * 500
    return f"{number} {os.getpid()}"


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """/ is a visit, /wait waits for what /push pushes, /opener says who opened the store."""
    path = environ["PATH_INFO"]
    if path == "/wait":
        found = db.blpop("queue", timeout=30)
        body = repr(found)
    elif path == "/push":
        body = str(db.rpush("queue", "x"))
    elif path == "/opener":
        body = f"{db.get('opened by')!r} {cache.get('opened by')} {os.getpid()}"
    else:
        body = visit()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [body.encode()]
