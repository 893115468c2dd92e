"""Django: a cache backend for `CACHES`, and a session engine.

All caches and sessions of a process that use the same directory share one store.

::

    CACHES = {"default": {"BACKEND": "ferrokv.contrib.django.FerroKVCache", "LOCATION": BASE_DIR / "var" / "cache"}}
    SESSION_ENGINE = "ferrokv.contrib.django.sessions"

`cache` is Django's default cache, as `django.core.cache.cache` is, but with the type `FerroKVCache`: type checkers and editors know
`tags=`, `stale_ttl=`, `delete_tag`, `pipelined` and the rest.
"""

from typing import Final, cast

from django.core.cache import cache as _cache

from .backend import FerroKVCache

cache: Final = cast("FerroKVCache", _cache)

__all__ = ["FerroKVCache", "cache"]
