"""Settings of the example site. What a project needs for ferrokv stands between the two lines."""

import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent
VAR = Path(os.environ.get("ATLAS_VAR", BASE_DIR / "var"))
VAR.mkdir(parents=True, exist_ok=True)

# -- ferrokv ---------------------------------------------------------------------------------------------------------
STORE = VAR / "store"
CACHES = {
    "default": {"BACKEND": "ferrokv.contrib.django.FerroKVCache", "LOCATION": STORE, "TIMEOUT": 600},
    # Counters have a keyspace of their own, so that clearing the cache does not set them to zero.
    "counters": {
        "BACKEND": "ferrokv.contrib.django.FerroKVCache",
        "LOCATION": STORE,
        "TIMEOUT": None,
        "OPTIONS": {"KEYSPACE": "counters"},
    },
}
SESSION_ENGINE = "ferrokv.contrib.django.sessions"
# --------------------------------------------------------------------------------------------------------------------

SECRET_KEY = os.environ.get("ATLAS_SECRET_KEY", "a key for the demonstration on your own machine, and for nothing else")
DEBUG = os.environ.get("ATLAS_DEBUG", "") == "1"
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "[::1]", "testserver"]
ROOT_URLCONF = "atlas.urls"
ASGI_APPLICATION = "atlas.asgi.application"
WSGI_APPLICATION = "atlas.wsgi.application"
INSTALLED_APPS = ["django.contrib.sessions", "django.contrib.humanize", "places"]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": ["django.template.context_processors.request", "places.context.favourites"]},
    }
]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": VAR / "places.sqlite3"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
USE_THOUSAND_SEPARATOR = True
