"""Settings of the example site.

The part between the two lines is what a project needs for ferrokv.
"""

import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent
VAR = Path(os.environ.get("ATLAS_VAR", BASE_DIR / "var"))
VAR.mkdir(parents=True, exist_ok=True)

# -- ferrokv ---------------------------------------------------------------------------------------------------------
STORE = VAR / "store"
CACHES = {
    "default": {
        "BACKEND": "ferrokv.contrib.django.FerroKVCache",
        "LOCATION": STORE,
        "TIMEOUT": 600,
        "OPTIONS": {"MAX_BYTES": 64 << 20},
    },
    # Whole pages, for Django's per-site cache: plain data and small. If the disk fails, they are
    # missing, but there is no error page.
    "pages": {
        "BACKEND": "ferrokv.contrib.django.FerroKVCache",
        "LOCATION": STORE,
        "OPTIONS": {"KEYSPACE": "pages", "COMPRESSOR": "zlib", "IGNORE_EXCEPTIONS": True, "MAX_BYTES": 16 << 20},
    },
    # Counters have their own keyspace, so that clearing the cache does not reset them.
    "counters": {
        "BACKEND": "ferrokv.contrib.django.FerroKVCache",
        "LOCATION": STORE,
        "TIMEOUT": None,
        "OPTIONS": {"KEYSPACE": "counters"},
    },
}
SESSION_ENGINE = "ferrokv.contrib.django.sessions"
CACHE_MIDDLEWARE_ALIAS = "pages"
CACHE_MIDDLEWARE_SECONDS = 60
MIDDLEWARE = [
    # First, so that a response leaves once all writes of its request are durable, with one sync.
    "ferrokv.contrib.django.middleware.PipelinedMiddleware",
    "django.middleware.cache.UpdateCacheMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.middleware.cache.FetchFromCacheMiddleware",
]
# --------------------------------------------------------------------------------------------------------------------

SECRET_KEY = os.environ.get("ATLAS_SECRET_KEY", "a key for the demonstration on your own machine, and for nothing else")
DEBUG = os.environ.get("ATLAS_DEBUG", "") == "1"
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "[::1]", "testserver"]
ROOT_URLCONF = "atlas.urls"
ASGI_APPLICATION = "atlas.asgi.application"
WSGI_APPLICATION = "atlas.wsgi.application"
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "django.contrib.humanize",
    "ferrokv.contrib.django",
    "places",
]
LOGIN_URL = "sign_in"
LOGIN_REDIRECT_URL = "account"
LOGOUT_REDIRECT_URL = "world"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "places.context.favourites",
            ]
        },
    }
]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": VAR / "places.sqlite3"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
TIME_ZONE = "UTC"
USE_TZ = True
USE_THOUSAND_SEPARATOR = True
# Failures are printed on the terminal, even without DEBUG.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"terminal": {"class": "logging.StreamHandler", "level": "WARNING"}},
    "loggers": {
        "django": {"handlers": ["terminal"], "level": "WARNING"},
        "ferrokv": {"handlers": ["terminal"], "level": "WARNING"},
    },
}
