"""Django's BaseCacheTests and SessionTestsMixin against our backends, the cache also through its `a*` methods.

Exclusions, each with its reason:

* ``test_cull``, ``test_zero_cull`` and ``test_cull_delete_when_store_empty``: nothing is culled by number of entries. Django's
  suite excludes them for Redis in the same way.
"""

from __future__ import annotations

import os
from typing import Any

from asgiref.sync import async_to_sync
from cache.tests import BaseCacheTests, caches_setting_for_tests
from django.core.cache import caches
from django.test import SimpleTestCase, TestCase, override_settings
from sessions_tests.tests import SessionTestsMixin

from ferrokv.contrib.django import FerroKVCache
from ferrokv.contrib.django.sessions import SessionStore

NOT_CULLED = {"cull", "zero_cull"}
NATIVE = [
    "add",
    "get",
    "set",
    "touch",
    "delete",
    "get_many",
    "get_or_set",
    "has_key",
    "incr",
    "decr",
    "set_many",
    "delete_many",
    "incr_version",
    "decr_version",
    "clear",
]


def _settings(backend: str) -> Any:
    base = {"BACKEND": backend, "LOCATION": os.environ["FERROKV_STORE"]}
    return caches_setting_for_tests(base=base, exclude=NOT_CULLED)


class NativeCache(FerroKVCache):
    """The same cache, every synchronous call made through its asynchronous twin."""

    def close(self, **kwargs: Any) -> None:
        async_to_sync(self.aclose)(**kwargs)


def _through(name: str) -> Any:
    def call(self: FerroKVCache, *args: Any, **kwargs: Any) -> Any:
        return async_to_sync(getattr(self, "a" + name))(*args, **kwargs)

    return call


for _name in NATIVE:
    setattr(NativeCache, _name, _through(_name))


class _Exclusions(BaseCacheTests):
    test_cull = None
    test_zero_cull = None
    test_cull_delete_when_store_empty = None


@override_settings(CACHES=_settings("ferrokv.contrib.django.FerroKVCache"))
class CacheTests(_Exclusions, TestCase):
    """Synchronous."""


@override_settings(CACHES=_settings("tests.contrib.conformance.cases.NativeCache"))
class NativeCacheTests(_Exclusions, TestCase):
    """Asynchronous."""

    def tearDown(self) -> None:
        caches["default"].clear()


class SessionTests(SessionTestsMixin, SimpleTestCase):
    """Synchronous and asynchronous: the mixin has both."""

    backend = SessionStore
