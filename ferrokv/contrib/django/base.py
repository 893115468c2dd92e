"""What both kinds of cache methods share: options, keys, timeouts and values. Nothing waits."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import copy
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.cache.backends.base import DEFAULT_TIMEOUT, MEMCACHE_MAX_KEY_LENGTH, BaseCache, InvalidCacheKey
from django.core.exceptions import ImproperlyConfigured, SynchronousOnlyOperation
from django.utils.module_loading import import_string

from ferrokv import DataError, Options, ResponseError, WriteBatch
from ferrokv.connecting import resolve_location
from ferrokv.options import UNCHANGED

from ..codecs.compressors import make_compressor
from ..codecs.envelopes import (
    ENVELOPES,
    EPOCH,
    NO_TOKEN,
    TAG,
    TAG_BYTES_MAX,
    TAGS_MAX,
    Guard,
    OpenedEnvelope,
    new_token,
    open_envelope,
    replace_inner,
    seal_in,
    tokens_match,
)
from ..codecs.serializers import make_serializer
from ..codecs.values import COMPRESSED_BYTES_MIN, MISSING, ValueCodec
from ..shared import FOREVER_SECONDS, NUMBERS, in_batches, open_options
from .entries import check_location, in_place_of
from .handles import CacheLocation

if TYPE_CHECKING:
    from ferrokv.contract.transactions import CacheTx

logger = logging.getLogger("ferrokv.contrib.django")
security_logger = logging.getLogger("django.security.ferrokv")

DEFAULT_KEYSPACE: Final = "cache"
LOCKS_SUFFIX: Final = ":locks"
TAGS_SUFFIX: Final = ":tags"
KEY_BYTES_MAX: Final = 65_535
RESERVED: Final = frozenset({"sessions", "sessions:users"})
OWN_OPTIONS: Final = frozenset(
    {
        "COMPRESSOR",
        "COMPRESSOR_MIN_BYTES",
        "CULL_FREQUENCY",
        "IGNORE_EXCEPTIONS",
        "KEYSPACE",
        "MAX_BYTES",
        "MAX_ENTRIES",
        "REVERSE_KEY_FUNCTION",
        "SERIALIZER",
    }
)
# Keys that Django warns of (memcached's limits), found by one search, not a check per character.
_CONFIGURED: Final = frozenset(
    (
        "_location",
        "_tags_location",
        "_locks_location",
        "_makes_usual_keys",
        "_reverse_key",
        "_ignores_failures",
        "_codec",
    )
)
_SUSPECT: Final = re.compile(r"[\x00-\x20\x7f]|.{251}", re.DOTALL)
_INTEGER: Final = re.compile(rb"-?[0-9]{1,19}")


def flattened(tags: Iterable[object]) -> list[str]:
    """Return the tags, of which some may be given in lists, tuples or sets, as text."""
    several = (list, tuple, set, frozenset, Iterator)
    return [str(tag) for one in tags for tag in (one if isinstance(one, several) else (one,))]


def _options_of(params: Mapping[str, Any]) -> Mapping[str, Any]:
    options = params.get("OPTIONS") or {}
    if not isinstance(options, Mapping):
        raise ImproperlyConfigured(f"OPTIONS of a FerroKVCache must be a dict: found={options!r}")
    return options


def is_taken(keyspace: str) -> bool:
    """True for keyspaces reserved for other parts of the adapter, which no cache may use."""
    return keyspace in RESERVED or keyspace.endswith((LOCKS_SUFFIX, TAGS_SUFFIX))


def _size(option: str, given: Any) -> int:
    """Check a number of bytes. `ImproperlyConfigured` for anything else."""
    if isinstance(given, bool) or not isinstance(given, int) or not 0 <= given < 1 << 63:
        raise ImproperlyConfigured(f"{option} must be a number of bytes: found={given!r}")
    return given


def location_of(location: str | os.PathLike[str], params: Mapping[str, Any]) -> CacheLocation:
    """Return where a `CACHES` entry keeps its keys.

    `ImproperlyConfigured` names an option that is unknown or invalid.
    """
    check_location(location)
    options = _options_of(params)
    engine_options = {name: value for name, value in options.items() if name not in OWN_OPTIONS}
    unknown = sorted(set(engine_options) - set(Options._fields))
    if unknown:
        known = ", ".join((*sorted(OWN_OPTIONS), *Options._fields))
        names = ", ".join(unknown)
        raise ImproperlyConfigured(f"unknown OPTIONS of a FerroKVCache: {names}; known: {known}{in_place_of(unknown)}")
    keyspace = options.get("KEYSPACE", DEFAULT_KEYSPACE)
    max_bytes = options.get("MAX_BYTES", UNCHANGED)
    try:
        checked = open_options(engine_options)
        where = resolve_location(location)
    except DataError as error:
        raise ImproperlyConfigured(f"OPTIONS of a FerroKVCache: {error}") from error
    if max_bytes is not UNCHANGED and max_bytes is not None and _size("MAX_BYTES", max_bytes) == 0:
        raise ImproperlyConfigured("MAX_BYTES must be a positive number of bytes, or None: found=0")
    if not isinstance(keyspace, str) or not keyspace:
        raise ImproperlyConfigured(f"KEYSPACE must be a name: found={keyspace!r}")
    if is_taken(keyspace):
        raise ImproperlyConfigured(f"KEYSPACE {keyspace!r} is taken: ferrokv keeps sessions, tags or locks in it")
    return CacheLocation(where, keyspace, checked, max_bytes)


def _codec_of(options: Mapping[str, Any]) -> ValueCodec:
    """How values become bytes. Seals are made with SECRET_KEY, and those of SECRET_KEY_FALLBACKS are valid, too."""
    try:
        return ValueCodec(
            [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS],
            make_serializer(options.get("SERIALIZER", "pickle")),
            make_compressor(options.get("COMPRESSOR")),
            _size("COMPRESSOR_MIN_BYTES", options.get("COMPRESSOR_MIN_BYTES", COMPRESSED_BYTES_MIN)),
            logger,
            security_logger,
        )
    except DataError as error:
        raise ImproperlyConfigured(str(error)) from error


class CacheBase(BaseCache):
    """Options, keys, timeouts and values."""

    problem: ImproperlyConfigured | None = None
    """What is wrong with its entry in CACHES. Every use of the store raises it.

    Django's system checks make each cache before ours can report what is wrong, so making one never
    fails.
    """

    def __init__(self, location: str | os.PathLike[str], params: dict[str, Any]) -> None:
        try:
            self._configure(location, params)
        except (ImproperlyConfigured, ImportError) as error:
            self.__dict__.clear()  # what was configured before it failed must not work by itself
            super().__init__({})
            said = str(error) if isinstance(error, ImproperlyConfigured) else f"OPTIONS of a FerroKVCache: {error}"
            self.problem = ImproperlyConfigured(said)

    if not TYPE_CHECKING:  # else it would hide misspelt names

        def __getattr__(self, name: str) -> object:
            """Raise the problem for what a cache that is not configured lacks."""
            if self.problem is not None and name in _CONFIGURED:
                raise copy(self.problem)
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _configure(self, location: str | os.PathLike[str], params: dict[str, Any]) -> None:
        options = _options_of(params)
        super().__init__({**params, "OPTIONS": options})
        self._location = location_of(location, params)
        self._tags_location = self._location.sibling(self._location.keyspace + TAGS_SUFFIX)
        self._locks_location = self._location.sibling(self._location.keyspace + LOCKS_SUFFIX)
        kind = type(self)
        self._makes_usual_keys = (
            kind.make_key is BaseCache.make_key
            and kind.validate_key is CacheBase.validate_key
            and kind.make_and_validate_key is BaseCache.make_and_validate_key
        )
        # django-redis wants it in OPTIONS, and other backends beside KEY_FUNCTION.
        reverse = options.get("REVERSE_KEY_FUNCTION", params.get("REVERSE_KEY_FUNCTION"))
        self._reverse_key: Callable[[str], str] | None = import_string(reverse) if isinstance(reverse, str) else reverse
        self._ignores_failures = bool(options.get("IGNORE_EXCEPTIONS", False))
        self._codec = _codec_of(options)

    # -- keys and timeouts ---------------------------------------------------------------------------------------

    def validate_key(self, key: str) -> None:
        """Warn, as Django does, of keys that memcached refuses, but at no cost for good keys."""
        if _SUSPECT.search(key) is not None:
            super().validate_key(key)

    def _key(self, key: Any, version: int | None) -> bytes:
        if self._makes_usual_keys:  # 0.5 µs less than by three methods: benchmarks/django_cache.py, get_hit
            full = self.key_func(key, self.key_prefix, self.version if version is None else version)
            if not full.isprintable() or " " in full or len(full) > MEMCACHE_MAX_KEY_LENGTH:
                self.validate_key(full)
        else:
            full = self.make_and_validate_key(key, version=version)
        try:
            encoded: bytes = full.encode()
        except UnicodeEncodeError:
            encoded = full.encode("utf-8", "surrogatepass")
        if not encoded or len(encoded) > KEY_BYTES_MAX:
            raise InvalidCacheKey(f"a cache key must have 1 to {KEY_BYTES_MAX} bytes: found={len(encoded)}")
        return encoded

    def _keys(self, keys: Iterable[Any], version: int | None) -> dict[bytes, Any]:
        return {self._key(key, version): key for key in keys}

    def _versions(self, key: Any, delta: int, version: int | None) -> tuple[bytes, bytes, int]:
        version = self.version if version is None else version
        return self._key(key, version), self._key(key, version + delta), version + delta

    def _ttl_ms(self, timeout: float | object | None) -> int | None:
        """Convert a timeout to ms: None for no expiry, zero or less for expired at once.

        It is a number of seconds or a timedelta. ValueError for NaN, TypeError for anything else.
        """
        if timeout is DEFAULT_TIMEOUT:
            timeout = self.default_timeout
        seconds: Any = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
        if seconds is not None and not isinstance(seconds, NUMBERS):
            raise TypeError(f"a timeout is a number of seconds, a timedelta or None: found={timeout!r}")
        if seconds is None or seconds >= FOREVER_SECONDS:
            return None
        return int(max(seconds, -1) * 1000)

    def _tag_names(self, tags: str | Iterable[str]) -> list[bytes]:
        """Return the keys of the tags' tokens.

        They depend on KEY_PREFIX, but not on the version.
        """
        if isinstance(tags, str):
            tags = (tags,)
        names = [TAG + f"{self.key_prefix}:{tag}".encode("utf-8", "surrogatepass") for tag in dict.fromkeys(tags)]
        if len(names) > TAGS_MAX or any(len(name) > TAG_BYTES_MAX for name in names):
            raise ValueError(f"a value may have at most {TAGS_MAX} tags, each of at most {TAG_BYTES_MAX} bytes")
        return names

    # -- values --------------------------------------------------------------------------------------------------

    def _batches(
        self, data: Mapping[Any, Any], timeout: Any, version: int | None, guard: Guard | None
    ) -> list[WriteBatch]:
        """Encode the writes of `set_many`.

        If a value cannot be encoded, it raises before anything is written.
        """
        ttl_ms = self._ttl_ms(timeout)
        writes: list[tuple[Any, bytes | None, int | None]] = []
        for key, value in data.items():
            name, stored = self._key(key, version), self._codec.encode(value)
            if ttl_ms is not None and ttl_ms <= 0:
                writes.append((name, None, None))
            else:
                writes.append((name, stored if guard is None else seal_in(stored, None, guard), ttl_ms))
        return in_batches(writes)

    def _encode(self, value: Any) -> bytes:
        return self._codec.encode(value)

    async def _a_encode(self, value: Any) -> bytes:
        stored: bytes = await self._in_thread_if_needed(self._codec.encode, value)
        return stored

    @staticmethod
    async def _in_thread_if_needed(encode: Callable[..., Any], *args: Any) -> Any:
        """Encode here; in a thread if pickling queries the database (an unevaluated queryset)."""
        try:
            return encode(*args)
        except SynchronousOnlyOperation:
            return await sync_to_async(encode)(*args)

    @staticmethod
    def _new_tokens_of(names: Iterable[bytes]) -> WriteBatch:
        """Return the writes that invalidate tags."""
        batch = WriteBatch()
        for name in names:
            batch.set(name, new_token())
        return batch

    @staticmethod
    def _begin_epoch(tx: CacheTx) -> None:
        """Create the EPOCH record, by which `clear` knows that there are tags.

        It holds no token, so it invalidates no value.
        """
        tx.set(EPOCH, NO_TOKEN, nx=True)

    # -- counting ------------------------------------------------------------------------------------------------

    @staticmethod
    def _counted(key: Any, answer: int | None) -> int:
        if answer is None:
            raise ValueError(f"Key '{key}' not found")
        return answer

    @staticmethod
    def _counter_error(key: Any, error: ResponseError) -> Exception:
        """Return the error that Django's in-memory cache raises for such a value."""
        kind = OverflowError if "overflow" in str(error) else TypeError
        return kind(f"Key '{key}': {error}")

    @staticmethod
    def _check_number(key: Any, value: Any, what: str = "value") -> None:
        """TypeError, as from Django's in-memory cache, for what cannot be counted with."""
        if value is not MISSING and not isinstance(value, int | float):
            raise TypeError(f"Key '{key}': {what} is not an int or float: found={type(value).__name__}")

    def _count_in(self, tx: CacheTx, key: Any, name: bytes, delta: Any, *, from_zero: bool) -> Any:
        """Count as a transaction: in an envelope, past 64 bits, or what is no int.

        Returns None if there is no value that counts, unless counting starts from zero.
        """
        stored = tx.get(name)
        opened = None if stored is None or stored[:1] not in ENVELOPES else open_envelope(stored)
        inner = opened.inner if opened is not None else stored
        value = MISSING if inner is None or (opened and not self._counts(tx, opened)) else self._codec.decode(inner)
        if stored is None or inner is None or value is MISSING:
            if from_zero:
                tx.set(name, self._codec.encode(delta))
            return delta if from_zero else None
        self._check_number(key, value)
        counted = value + delta
        made = self._codec.encode(counted)
        tx.set(name, made if opened is None else replace_inner(stored, inner, made), keepttl=True)
        return counted

    def _counts(self, tx: CacheTx, opened: OpenedEnvelope) -> bool:
        """True if `get` returns the value."""
        if opened.soft_ms is not None and opened.soft_ms <= time.time() * 1000:
            return False
        if opened.guard is not None and not tokens_match(opened.guard, tx.keyspace(self._tags_location.keyspace).get):
            return False
        return self._codec.decode(opened.inner) is not MISSING
