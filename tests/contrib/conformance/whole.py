"""Every test of Django's `tests/cache` and `tests/sessions_tests`, with ferrokv in the place of the in-memory cache and of the
default session engine. What is left out, and why:
"""

from __future__ import annotations

from typing import Any

import cache.tests
import cache.tests_async
import sessions_tests.tests

OTHER_BACKENDS = "another backend, which has nothing to do with ours"
NO_CULLING = "nothing is culled by number of entries; Django's suite excludes these for Redis in the same way"
INNARDS = "looks into attributes of LocMemCache"

EXCLUDED_CLASSES = {
    "DummyCacheTests": OTHER_BACKENDS,
    "AsyncDummyCacheTests": OTHER_BACKENDS,
    "DBCacheTests": OTHER_BACKENDS,
    "DBCacheWithTimeZoneTests": OTHER_BACKENDS,
    "CreateCacheTableForDBCacheTests": OTHER_BACKENDS,
    "PyLibMCCacheTests": OTHER_BACKENDS,
    "PyMemcacheCacheTests": OTHER_BACKENDS,
    "FileBasedCacheTests": OTHER_BACKENDS,
    "FileBasedCachePathLibTests": OTHER_BACKENDS,
    "RedisCacheTests": OTHER_BACKENDS,
    "DatabaseSessionTests": OTHER_BACKENDS,
    "DatabaseSessionWithTimeZoneTests": OTHER_BACKENDS,
    "CustomDatabaseSessionTests": OTHER_BACKENDS,
    "FileSessionTests": OTHER_BACKENDS,
    "FileSessionPathLibTests": OTHER_BACKENDS,
    "CookieSessionTests": OTHER_BACKENDS,
}
EXCLUDED_TESTS = {
    ("LocMemCacheTests", "test_cull"): NO_CULLING,
    ("LocMemCacheTests", "test_zero_cull"): NO_CULLING,
    ("LocMemCacheTests", "test_cull_delete_when_store_empty"): NO_CULLING,
    ("LocMemCacheTests", "test_lru_get"): NO_CULLING,
    ("LocMemCacheTests", "test_lru_set"): NO_CULLING,
    ("LocMemCacheTests", "test_lru_incr"): NO_CULLING,
    ("LocMemCacheTests", "test_locking_on_pickle"): INNARDS,
    ("SessionMiddlewareTests", "test_empty_session_saved"): "looks into the database's table of sessions",
}


def _taken() -> dict[str, Any]:
    found = {}
    for module in (cache.tests, cache.tests_async, sessions_tests.tests):
        for name, kind in vars(module).items():
            if isinstance(kind, type) and kind.__module__ == module.__name__ and hasattr(kind, "run"):
                found[name] = kind
    missing = (set(EXCLUDED_CLASSES) | {name for name, _ in EXCLUDED_TESTS}) - set(found)
    assert not missing, f"Django no longer has {missing}"
    for name, test in EXCLUDED_TESTS:
        assert hasattr(found[name], test), f"Django no longer has {name}.{test}"
        setattr(found[name], test, None)
    return {name: kind for name, kind in found.items() if name not in EXCLUDED_CLASSES}


globals().update(_taken())
