"""`connect` and `connect_blocking`: a handle on whatever keeps the data at a location."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol, Unpack
from urllib.parse import parse_qsl, unquote, urlsplit

from .errors import DataError
from .options import UNCHANGED, OpenOptions, Options, Quota

if TYPE_CHECKING:
    from .contract.aio.stores import AsyncStore
    from .contract.blocking.stores import BlockingStore

Location = str | os.PathLike[str]
_LIKE_A_URL: Final = re.compile(r"[^/]+://")
_URL: Final = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)


class ConnectOptions(OpenOptions, total=False):
    """The keyword arguments of `connect`, for type checkers."""

    keyspace: str
    read_only: bool
    max_bytes: Quota


class Backend(Protocol):
    """Makes handles for the locations of one scheme. Neither method may wait or touch a file.

    The backend reads the URL's query itself. It raises `DataError` for a URL or an option that it
    does not understand. A backend that only serves the adapters may return an `AsyncCacheStore` and
    a `BlockingCacheStore`, with a cast.
    """

    def connect(self, url: str, options: Mapping[str, Any]) -> AsyncStore:
        """Return a handle for asyncio. `options` are the keyword arguments of `connect`."""

    def connect_blocking(self, url: str, options: Mapping[str, Any]) -> BlockingStore:
        """Return a handle for threads."""


def connect(location: Location, **options: Unpack[ConnectOptions]) -> AsyncStore:
    """Return a handle for asyncio on the store at a location. Its first use opens the store.

    A location is the path of a directory, or a URL such as `ferrokv:///srv/cache`. A URL may carry
    options: `ferrokv:///srv/cache?keyspace=pages&busy_timeout=2`. `keyspace` is "default" unless it
    is given, `max_bytes` is a quota for it, and `read_only` refuses writes. The other options are
    those of `ferrokv.Options`.

    `DataError` for a scheme that no backend serves, or for an option that is unknown, out of range,
    or given twice.
    """
    url, scheme = _text(location), _scheme_of(location)
    return _backend(scheme).connect(url, options)


def connect_blocking(location: Location, **options: Unpack[ConnectOptions]) -> BlockingStore:
    """As `connect`, for threads."""
    url, scheme = _text(location), _scheme_of(location)
    return _backend(scheme).connect_blocking(url, options)


def register_backend(scheme: str, backend: Backend) -> None:
    """Serve URLs of a scheme with a backend, in this process. Replaces an earlier one.

    `DataError` for what is no scheme, and for `ferrokv`.
    """
    if _URL.fullmatch(f"{scheme}://") is None or scheme.lower() == "ferrokv":
        raise DataError(f"a backend cannot have this scheme: found={scheme!r}")
    _backends[scheme.lower()] = backend


class LocalBackend:
    """Stores in directories of this machine."""

    def connect(self, url: str, options: Mapping[str, Any]) -> AsyncStore:
        """Return a handle for asyncio."""
        from .local.api import FerroKV

        path, given = _path_and_options(url, options)
        return FerroKV(path, **given)

    def connect_blocking(self, url: str, options: Mapping[str, Any]) -> BlockingStore:
        """Return a handle for threads."""
        from .local.blocking import BlockingFerroKV

        path, given = _path_and_options(url, options)
        return BlockingFerroKV(path, **given)


_backends: dict[str, Backend] = {"": LocalBackend(), "ferrokv": LocalBackend()}


def resolve_location(location: Location) -> str:
    """Return the absolute path of a directory of this machine, or the URL of another backend.

    For adapters, whose options are given elsewhere. `DataError` for a `ferrokv://` URL that carries
    some, and for a scheme that no backend serves.
    """
    scheme = _scheme_of(location)
    _backend(scheme)
    if scheme not in ("", "ferrokv"):
        return _text(location)
    path, options = _path_and_options(_text(location), {})
    if options:
        raise DataError(f"options do not belong in this URL: {', '.join(sorted(options))}")
    return os.path.abspath(path)


def is_url(location: Location) -> bool:
    """True for a URL, False for a path."""
    return _scheme_of(location) != ""


def _text(location: Location) -> str:
    text = os.fspath(location)
    if not isinstance(text, str) or not text:
        raise DataError(f"a location is a path or a URL: found={location!r}")
    return text


def _scheme_of(location: Location) -> str:
    found = _URL.match(location) if isinstance(location, str) else None
    if found is None and isinstance(location, str) and _LIKE_A_URL.match(location):
        raise DataError(f"neither a path nor a URL: found={location!r}")
    return "" if found is None else found[1].lower()


def _backend(scheme: str) -> Backend:
    backend = _backends.get(scheme)
    if backend is None:
        known = ", ".join(f"{name}://" for name in sorted(_backends) if name)
        raise DataError(f"no backend for {scheme}://; use a path, or one of: {known}")
    return backend


def _path_and_options(location: str, given: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the directory that a location names, with the options of its URL and of the call."""
    if not _scheme_of(location):
        return location, dict(given)
    parts = urlsplit(location)
    if parts.netloc or not parts.path.strip("/") or parts.fragment:
        raise DataError(f"a URL names an absolute directory, as in ferrokv:///srv/cache: found={location!r}")
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    names = [name for name, _ in pairs]
    twice = sorted({name for name in names if names.count(name) > 1 or name in given})
    if twice:
        raise DataError(f"given twice: {', '.join(twice)}")
    options = {name: _value(name, text) for name, text in pairs}
    return unquote(parts.path), {**options, **given}


def _value(name: str, text: str) -> Any:
    if name == "keyspace":
        return text
    if name == "read_only":
        if text not in ("0", "1"):
            raise DataError(f"read_only is 0 or 1 in a URL: found={text!r}")
        return text == "1"
    if name != "max_bytes" and name not in Options._fields:
        raise DataError(f"unknown option in the URL: {name}")
    try:
        return float(text) if "." in text else int(text)
    except ValueError as error:
        raise DataError(f"not a number in the URL: {name}={text!r}") from error


__all__ = [
    "UNCHANGED",
    "Backend",
    "ConnectOptions",
    "connect",
    "connect_blocking",
    "is_url",
    "register_backend",
    "resolve_location",
]
