"""Django, configured once for the tests that run in this process, and a cache on a store of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import django
from django.conf import settings
from django.core.cache import caches
from django.test import override_settings

from ferrokv.contrib.django.handles import close_handles

BACKEND = "ferrokv.contrib.django.FerroKVCache"

if not settings.configured:
    settings.configure(
        SECRET_KEY="tests",
        USE_TZ=True,
        SESSION_ENGINE="ferrokv.contrib.django.sessions",
        ALLOWED_HOSTS=["testserver"],
        ROOT_URLCONF="tests.support.django_urls",
        INSTALLED_APPS=[
            "django.contrib.contenttypes",
            "django.contrib.auth",
            "django.contrib.sessions",
            "ferrokv.contrib.django",
        ],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    )
    django.setup()


@contextmanager
def configured(path: Path, aliases: dict[str, dict[str, Any]] | None = None, **options: Any) -> Iterator[Any]:
    """The default cache on the store at `path`, with OPTIONS; and others, by alias, with options of their own."""
    entry = {"BACKEND": BACKEND, "LOCATION": path}
    entries = {"default": {**entry, "OPTIONS": options}}
    for alias, more in (aliases or {}).items():
        entries[alias] = {**entry, "OPTIONS": more}
    with override_settings(CACHES=entries):
        try:
            yield caches["default"]
        finally:
            close_store(path)


def close_store(path: Path) -> None:
    """Close this process's handles, so that the directory can be removed."""
    close_handles(str(path))
