"""System checks, so that `manage.py check` reports what would go wrong later, and what to change.

`ferrokv.E…` are errors, which stop Django from starting a command; `ferrokv.W…` are warnings.
docs/django.md lists them.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from ferrokv import BlockingFerroKV, FerroKVError, Options, inspect_directory
from ferrokv.connecting import is_url, resolve_location

from .base import is_taken, location_of
from .entries import check_location
from .middleware import PipelinedMiddleware
from .session_steps import KEYSPACE as SESSIONS
from .session_steps import LOCATION_SETTING, USERS_KEYSPACE, is_ours, session_params

TAG: Final = "ferrokv"
SESSION_ENGINE: Final = "ferrokv.contrib.django.sessions"
_PIPELINED: Final = f"{PipelinedMiddleware.__module__}.{PipelinedMiddleware.__qualname__}"
_NAME_A_PLACE: Final = (
    f"name a directory in {LOCATION_SETTING}, or add an alias with BACKEND ferrokv.contrib.django.FerroKVCache."
)
_SESSION_MIDDLEWARE: Final = "django.contrib.sessions.middleware.SessionMiddleware"


def _entries() -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The aliases of CACHES that use ferrokv."""
    for alias, params in settings.CACHES.items():
        if is_ours(params):
            yield alias, params


def check_settings(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Check options and combinations of settings, without looking at the disk."""
    found: list[CheckMessage] = []
    for alias, params in _entries():
        found += _check_options(alias, params)
    found += _check_same_options()
    found += _check_session_engine()
    found += _check_middleware()
    return found


def _check_options(alias: str, params: Mapping[str, Any]) -> Iterator[CheckMessage]:
    name = f"CACHES[{alias!r}]"
    options = params.get("OPTIONS") or {}
    keyspace = options.get("KEYSPACE") if isinstance(options, Mapping) else None
    if isinstance(keyspace, str) and is_taken(keyspace):
        yield Error(
            f"{name} uses the keyspace {keyspace!r}, where ferrokv keeps sessions, tags or locks: clear() would delete them.",
            hint="Give OPTIONS['KEYSPACE'] another name.",
            id="ferrokv.E004",
        )
        return
    problem: Exception | None
    try:
        problem = import_string(params["BACKEND"])(params.get("LOCATION", ""), dict(params)).problem
    except Exception as error:  # noqa: BLE001 - a check has to report whatever is wrong with settings
        problem = error
    if problem is not None:
        if _has_location(params):  # otherwise check_locations reports it
            yield Error(f"{name} cannot be used: {problem}", hint="Fix OPTIONS.", id="ferrokv.E005")
        return
    ignored = [option for option in ("MAX_ENTRIES", "CULL_FREQUENCY") if option in options]
    if ignored:
        yield Warning(
            f"{name} has {' and '.join(ignored)}, which ferrokv ignores: it does not limit the number of entries.",
            hint="OPTIONS['MAX_BYTES'] limits the size of a cache.",
            id="ferrokv.W003",
        )


def _check_same_options() -> Iterator[CheckMessage]:
    """A process opens a directory once, so all aliases in it need the same engine options."""
    seen: dict[str, tuple[str, Options]] = {}
    for alias, params in _entries():
        try:
            location = location_of(params.get("LOCATION", ""), params)
        except ImproperlyConfigured:
            continue
        own = Options.checked(location.options)
        other, options = seen.setdefault(location.path, (alias, own))
        differing = [name for name in Options._fields if getattr(own, name) != getattr(options, name)]
        if differing:
            yield Error(
                f"CACHES[{alias!r}] and CACHES[{other!r}] share a directory but differ in {', '.join(differing)}.",
                hint="Give both the same engine options, or give each its own directory.",
                id="ferrokv.E007",
            )


def _check_session_engine() -> Iterator[CheckMessage]:
    if settings.SESSION_ENGINE != SESSION_ENGINE:
        return
    params = session_params()
    if params is None:
        yield Warning(
            "Sessions are kept in a temporary directory of each process: other processes do not see them.",
            hint=f"That will do for tests. Else {_NAME_A_PLACE}",
            id="ferrokv.W005",
        )
        return
    try:
        location_of(params.get("LOCATION", ""), params)
    except ImproperlyConfigured as error:
        yield Error(f"Sessions cannot be stored in {_session_place()}: {error}", hint=_NAME_A_PLACE, id="ferrokv.E006")


def _session_place() -> str:
    return LOCATION_SETTING if getattr(settings, LOCATION_SETTING, None) is not None else "CACHES"


def _check_middleware() -> Iterator[CheckMessage]:
    middleware = list(settings.MIDDLEWARE or ())
    if _PIPELINED in middleware and _SESSION_MIDDLEWARE in middleware[: middleware.index(_PIPELINED)]:
        yield Warning(
            "PipelinedMiddleware comes after SessionMiddleware, so saving the session costs an extra sync.",
            hint="Put PipelinedMiddleware first in MIDDLEWARE.",
            id="ferrokv.W004",
        )


def check_locations(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Check the directories: whether they can serve as a store, and whether they should."""
    found: list[CheckMessage] = []
    seen: set[str] = set()
    if settings.SESSION_ENGINE == SESSION_ENGINE and hasattr(settings, LOCATION_SETTING):
        params = session_params()
        if params is not None and _has_location(params):
            path = resolve_location(params["LOCATION"])
            seen.add(path)
            found += _check_location(LOCATION_SETTING, path)
    for alias, params in _entries():
        if not _has_location(params):
            found.append(
                Error(
                    f"CACHES[{alias!r}] cannot be used: {_wrong_location(params)}",
                    hint='Write "LOCATION": BASE_DIR / "var" / "cache".',
                    id="ferrokv.E001",
                )
            )
            continue
        try:
            path = location_of(params["LOCATION"], params).path
        except ImproperlyConfigured:
            continue  # check_settings reports it
        if path not in seen and not is_url(path):  # another backend has no directory to check
            seen.add(path)
            found += _check_location(f"CACHES[{alias!r}]", path)
    return found


def _has_location(params: Mapping[str, Any]) -> bool:
    return _wrong_location(params) is None


def _wrong_location(params: Mapping[str, Any]) -> ImproperlyConfigured | None:
    try:
        check_location(params.get("LOCATION"))
    except ImproperlyConfigured as error:
        return error
    return None


def _check_location(name: str, path: str) -> Iterator[CheckMessage]:
    report = inspect_directory(path)
    if report.problem is not None:
        yield Error(f"{name} cannot be opened: {report.problem}", hint="Change or repair LOCATION.", id="ferrokv.E001")
    public = _public_root_above(Path(report.path))
    if public is not None:
        yield Error(
            f"{name} is inside {public}, whose files the web server serves to everybody: path={report.path}",
            hint="Move LOCATION out of it.",
            id="ferrokv.E002",
        )
    if report.is_volatile or Path(tempfile.gettempdir()).resolve() in Path(report.path).parents:
        yield Warning(
            f"{name} is on a temporary file system or directory: path={report.path} file_system={report.file_system}",
            hint="Data there does not survive a restart of the machine. Move LOCATION if it should.",
            id="ferrokv.W001",
        )
    if report.problem is None and report.mode is not None and report.mode & 0o007:
        yield Warning(
            f"{name} can be listed by every user of the machine: path={report.path} mode={report.mode:o}",
            hint="The store's files are private anyway; chmod 700 makes the directory private, too.",
            id="ferrokv.W002",
        )


def _public_root_above(path: Path) -> str | None:
    """Return the name of the setting for a public directory that contains `path`, or None."""
    roots = [("MEDIA_ROOT", settings.MEDIA_ROOT), ("STATIC_ROOT", settings.STATIC_ROOT)]
    for entry in getattr(settings, "STATICFILES_DIRS", None) or ():
        roots.append(("STATICFILES_DIRS", entry[-1] if isinstance(entry, list | tuple) and entry else entry))
    for name, root in roots:
        try:
            is_above = bool(root) and path.is_relative_to(Path(os.fsdecode(root)).resolve())
        except (TypeError, ValueError, OSError):
            continue  # not a directory at all; whatever uses the setting reports it
        if is_above:
            return name
    return None


def check_stores(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """For `check --deploy`: what only the store itself can tell."""
    if settings.SESSION_ENGINE != SESSION_ENGINE:
        return []
    params = session_params()
    if params is None:
        return [Error("No directory is named for the sessions.", hint=_NAME_A_PLACE, id="ferrokv.E006")]
    try:
        location = location_of(params.get("LOCATION", ""), params)
        if is_url(location.path) or not inspect_directory(location.path).is_store:
            return []
        with BlockingFerroKV.open(location.path, read_only=True) as db:
            quotas = db.stats().quotas
    except (FerroKVError, ImproperlyConfigured) as error:
        return [Error(f"The sessions' store cannot be read: {error}", id="ferrokv.E001")]
    return [
        Error(
            f"The keyspace {name!r} has a quota of {quotas[name]} bytes: sessions are evicted when it is full.",
            hint=f"Remove it: FerroKV.open({location.path!r}, keyspace={name!r}), then set_quota(None).",
            id="ferrokv.E003",
        )
        for name in (SESSIONS, USERS_KEYSPACE)
        if name in quotas
    ]
