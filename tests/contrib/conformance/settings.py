"""Settings for Django's own suites, run against ferrokv."""

import os
import sys

sys.path.insert(0, os.environ["FERROKV_DJANGO_TESTS"])

SECRET_KEY = "conformance"
USE_TZ = False
DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"},
    "other": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"},
}
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "cache",
    "sessions_tests",
]
CACHES = {
    "default": {
        "BACKEND": "ferrokv.contrib.django.FerroKVCache",
        "LOCATION": os.environ["FERROKV_STORE"],
    }
}
SESSION_ENGINE = "ferrokv.contrib.django.sessions"
# As in Django's own runtests.py.
LANGUAGE_CODE = "en"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
    }
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
]

import tests.contrib.conformance.stand_in  # noqa: E402, F401 - in the place of LocMemCache, before anybody asks for that

DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
