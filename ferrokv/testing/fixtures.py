"""pytest fixtures: a new store, or a Django cache on one, in a temporary directory for each test.

`pytest_plugins = ["ferrokv.testing.fixtures"]` in the conftest.py at the root brings them. Each store is closed behind its test,
so no thread, lock or descriptor of one test is left for the next.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ferrokv import BlockingFerroKV

if TYPE_CHECKING:
    from ferrokv.contrib.django import FerroKVCache


@pytest.fixture
def ferrokv_path(tmp_path: Path) -> Path:
    """Where a store can be made: a directory that does not exist yet. For `await FerroKV.open(ferrokv_path)` and its like."""
    return tmp_path / "ferrokv"


@pytest.fixture
def ferrokv_store(ferrokv_path: Path) -> Iterator[BlockingFerroKV]:
    """A new, empty store."""
    with BlockingFerroKV.open(ferrokv_path) as store:
        yield store


@pytest.fixture
def ferrokv_django_cache(ferrokv_path: Path) -> Iterator[FerroKVCache]:
    """Django's default cache, for this test a new `FerroKVCache`. Needs configured settings, as every Django test does."""
    from django.core.cache import caches
    from django.test import override_settings

    from ferrokv.contrib.django import FerroKVCache
    from ferrokv.contrib.django.handles import close_handles

    options = {"BACKEND": "ferrokv.contrib.django.FerroKVCache", "LOCATION": str(ferrokv_path)}
    with override_settings(CACHES={"default": options}):
        cache = caches["default"]
        assert isinstance(cache, FerroKVCache)
        try:
            yield cache
        finally:
            close_handles(str(ferrokv_path))
