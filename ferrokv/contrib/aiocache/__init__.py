"""aiocache: a persistent backend for `@cached`, `@multi_cached`, `@cached_stampede` and direct use.

Works with aiocache 0.12 and the 1.0 line.

::

    from aiocache import cached
    from ferrokv.contrib.aiocache import FerroKVCache

    @cached(cache=FerroKVCache, path="./cache", namespace="api", ttl=300)
    async def forecast(city): ...

Importing it also enables `Cache.from_url("ferrokv:///srv/cache")`, in versions of aiocache that
have URLs. See docs/aiocache.md.
"""

import aiocache as _aiocache

from .cache import FerroKVCache
from .sealed import SealedSerializer

__all__ = ["FerroKVCache", "SealedSerializer"]

if hasattr(_aiocache, "AIOCACHE_CACHES"):  # 0.12; the 1.0 line has no URLs
    _aiocache.AIOCACHE_CACHES[FerroKVCache.NAME] = FerroKVCache
