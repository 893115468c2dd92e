"""aiocache: a persistent backend for `@cached`, `@multi_cached`, `@cached_stampede` and direct use."""

from .cache import FerroKVCache

__all__ = ["FerroKVCache"]
