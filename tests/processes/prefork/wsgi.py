"""A WSGI application whose store and Django cache are open before the server forks. STORE names the directory."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable
from typing import Any

from django.conf import settings

logging.basicConfig(level=logging.WARNING, format="LOGGED %(name)s: %(message)s")
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
db.set("opened-by", os.getpid())
cache.set("opened-by", os.getpid(), None)


def visit() -> str:
    """One visit, counted three times, with records that make flushes and merges due."""
    number = db.incr("visits")
    db.set(f"visit:{number}", "v" * 500)
    with db.lock("a lock", timeout=60):
        cache.add("cached-visits", 0, None)
        cache.incr("cached-visits")
        cache.set("locked-visits", cache.get("locked-visits", 0) + 1, None)
    cache.set(f"kept:{number}", number, None)
    assert cache.get(f"kept:{number}") == number
    if number % 2:
        assert cache.delete(f"kept:{number}")
    assert db.get(f"visit:{number}") == b"v" * 500
    return f"{number} {os.getpid()}"


def counts() -> str:
    """What `visit` counted, and how many of the records with even numbers are there."""
    kept = cache.get_many([f"kept:{number}" for number in range(1, int(db.get("visits") or 0) + 1)])
    assert all(number % 2 == 0 for number in kept.values())
    return f"{cache.get('cached-visits', 0)} {cache.get('locked-visits', 0)} {len(kept)}"


def opener() -> str:
    """Who opened the store and the cache, who this is, and which threads of ferrokv it has."""
    opened = str(int(db.get("opened-by") or 0)), str(cache.get("opened-by"))
    # Order: behind the first call in this worker, which starts them; before, those of the master would be listed.
    running = (thread.name for thread in threading.enumerate() if thread.name.startswith("ferrokv"))
    return " ".join((*opened, str(os.getpid()), *running))


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """/ is a visit, /wait waits for what /push pushes, /opener says who opened the store, /counts what was counted."""
    path = environ["PATH_INFO"]
    if path == "/wait":
        found = db.blpop("queue", timeout=30)
        body = repr(found)
    elif path == "/push":
        body = str(db.rpush("queue", "x"))
    elif path == "/opener":
        body = opener()
    elif path == "/counts":
        body = counts()
    else:
        body = visit()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [body.encode()]
