"""aiocache: a persistent backend for `@cached`, `@multi_cached`, `@cached_stampede` and direct use, on 0.12 and the 1.0 line.

::

    from aiocache import cached
    from ferrokv.contrib.aiocache import FerroKVCache

    @cached(cache=FerroKVCache, path="./cache", namespace="api", ttl=300)
    async def forecast(city): ...

Importing it also makes `Cache.from_url("ferrokv:///srv/cache")` work, where aiocache has it. docs/aiocache.md tells the rest.
"""

import aiocache as _aiocache

from .cache import FerroKVCache
from .sealed import SealedSerializer

__all__ = ["FerroKVCache", "SealedSerializer"]

if hasattr(_aiocache, "AIOCACHE_CACHES"):  # 0.12; the 1.0 line has no URLs
    _aiocache.AIOCACHE_CACHES[FerroKVCache.NAME] = FerroKVCache
