"""Django: a cache backend for `CACHES` and a session engine, sharing one store for each directory and process.

::

    CACHES = {"default": {"BACKEND": "ferrokv.contrib.django.FerroKVCache", "LOCATION": BASE_DIR / "var" / "cache"}}
    SESSION_ENGINE = "ferrokv.contrib.django.sessions"
"""

from .cache import FerroKVCache

__all__ = ["FerroKVCache"]
