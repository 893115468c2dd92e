"""What is wrong with an entry of CACHES, said so that its author knows what to write instead."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, Final

from django.core.exceptions import ImproperlyConfigured

EXAMPLE: Final = 'LOCATION is the directory of the store, as in BASE_DIR / "var" / "cache"'
_SERVERS: Final = ("redis://", "rediss://", "valkey://", "valkeys://", "unix://", "memcached://")
_NO_SERVER: Final = "there is no server to connect to"
# OPTIONS of django-redis and of Django's own Redis backend, and what has taken their place.
IN_PLACE_OF: Final = {
    "CLIENT_CLASS": "the cache has django-redis's methods itself",
    "REDIS_CLIENT_CLASS": _NO_SERVER,
    "REDIS_CLIENT_KWARGS": _NO_SERVER,
    "CONNECTION_FACTORY": _NO_SERVER,
    "CONNECTION_POOL_CLASS": _NO_SERVER,
    "CONNECTION_POOL_KWARGS": _NO_SERVER,
    "PARSER_CLASS": _NO_SERVER,
    "PASSWORD": "the directory is private to its owner",
    "USERNAME": "the directory is private to its owner",
    "DB": "use KEYSPACE",
    "db": "use KEYSPACE",
    "SOCKET_TIMEOUT": "use busy_timeout",
    "SOCKET_CONNECT_TIMEOUT": "use busy_timeout",
    "COMPRESS_MIN_LENGTH": "use COMPRESSOR_MIN_BYTES",
    "PICKLE_VERSION": "pickles have the newest protocol",
    "MAX_CONNECTIONS": _NO_SERVER,
    "SENTINELS": _NO_SERVER,
    "IGNORE_EXCEPTIONS_LOGGER": "failures are logged to ferrokv.contrib.django",
}


def check_location(location: Any) -> None:
    """`ImproperlyConfigured` if it is no path or URL, or belongs to a server."""
    if not isinstance(location, str | os.PathLike) or not os.fspath(location):
        found = "missing or empty" if location in (None, "", b"") else f"{location!r}"
        raise ImproperlyConfigured(f"LOCATION of a FerroKVCache is {found}. {EXAMPLE}.")
    text = os.fspath(location)
    if isinstance(text, str) and text.lower().startswith(_SERVERS):
        raise ImproperlyConfigured(
            f"LOCATION of a FerroKVCache is {text!r}, but ferrokv needs no server: its data is in a directory. {EXAMPLE}."
        )


def in_place_of(options: Iterable[str]) -> str:
    """Return what replaces unknown options, if they are known from other caches."""
    said = [f"{name} ({IN_PLACE_OF[name]})" for name in options if name in IN_PLACE_OF]
    return f". Options of django-redis have no use here: {', '.join(said)}" if said else ""
