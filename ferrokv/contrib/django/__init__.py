"""Django: a cache backend for `CACHES`, and a session engine.

All caches and sessions of a process that use the same directory share one store.

::

    CACHES = {"default": {"BACKEND": "ferrokv.contrib.django.FerroKVCache", "LOCATION": BASE_DIR / "var" / "cache"}}
    SESSION_ENGINE = "ferrokv.contrib.django.sessions"
"""

from .cache import FerroKVCache

__all__ = ["FerroKVCache"]
