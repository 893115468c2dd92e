"""ferrokv in the place of Django's in-memory cache, which most of Django's suites name in their settings."""

from __future__ import annotations

import os
from typing import Any

from django.core.cache.backends import locmem

from ferrokv.contrib.django import FerroKVCache


class Expiries:
    """What LocMemCache keeps beside its values: stored key -> the moment when it expires, or None."""

    def __init__(self, cache: FerroKVCache) -> None:
        self._location = cache._location

    def __getitem__(self, key: str) -> int | None:
        found = self._location.blocking.pexpiretime(key)
        if found == -2:
            raise KeyError(key)
        return None if found == -1 else found


class StandIn(FerroKVCache):
    """A cache for a LOCATION that is a name: caches of one name share their data, others do not."""

    def __init__(self, name: str, params: dict[str, Any]) -> None:
        options = {**params.get("OPTIONS", {}), "KEYSPACE": f"stand-in:{name}"}
        super().__init__(os.environ["FERROKV_STORE"], {**params, "OPTIONS": options})
        self._cache = self  # LocMemCacheTests shares it between aliases
        self._expire_info = Expiries(self)


locmem.LocMemCache = StandIn
