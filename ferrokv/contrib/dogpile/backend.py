"""`FerroKVBackend`: dogpile.cache's backend contract on ferrokv."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping
from typing import Any, Final

from dogpile.cache.api import NO_VALUE, BytesBackend, CantDeserializeException

from ferrokv import BlockingFerroKV, Options

from ..codecs import MISSING, ValueCodec
from ..opening import FOREVER_SECONDS, UNCHANGED, ProcessLock, in_batches, in_parts, open_bounded, whole_ms
from .mutex import FerroKVMutex

logger = logging.getLogger("ferrokv.contrib.dogpile")

KEY_BYTES_MAX: Final = 65_535
LOCKS_SUFFIX: Final = ":locks"


def stored_key(key: str) -> bytes:
    """The key in UTF-8; its SHA-256 if ferrokv can not take it: too long, such as written-out arguments, empty, no Unicode."""
    try:
        encoded = key.encode()
    except UnicodeEncodeError:
        encoded = b""
    if 0 < len(encoded) <= KEY_BYTES_MAX:
        return encoded
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest().encode()


class FerroKVBackend(BytesBackend):
    """Values in a keyspace of the store at the argument `path`, which is opened at the first use.

    Arguments, all but `path` optional:

    - `keyspace` ("dogpile"): two regions with different ones keep apart.
    - `ferrokv_expiration_time`: seconds after which a value is gone, to the millisecond; larger than the region's expiration time,
      so that dogpile can still give the old value while a new one is made. By default nothing expires.
    - `distributed_lock` (True): one creator for each key among all threads and processes; False: among the threads of a process.
    - `lock_timeout` (None): seconds after which a lock is free in any case. When its process ends it is free without that, too.
    - `lock_sleep` (0.01): without effect, since who waits for a lock is woken; accepted for configurations that have it.
    - `secret_keys`: a key, or several, with which pickles are sealed: whoever can write to the directory, but knows none of them,
      cannot run code. The first one seals, all are accepted. A value without a valid seal counts as missing.
    - `max_bytes`: about how much the keyspace may hold; over it, what expires soonest goes first, then what is oldest.
    - the fields of `ferrokv.Options`.

    Others are ignored, as dogpile's own backends do, with a line in the log. Any thread, and forked children, may use one object.
    """

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        given = dict(arguments)
        if not given.get("path"):
            raise ValueError("the ferrokv backend needs the argument path, the directory of the store")
        self.path = given.pop("path")
        self.keyspace = str(given.pop("keyspace", "dogpile"))
        if self.keyspace.endswith(LOCKS_SUFFIX):
            raise ValueError(f"the keyspace {self.keyspace!r} is that of the locks of another one")
        self._ttl_ms = whole_ms(float(given.pop("ferrokv_expiration_time", None) or 0))
        self.distributed_lock = bool(given.pop("distributed_lock", True))
        self.lock_timeout = given.pop("lock_timeout", None)
        self._lock_options: dict[str, Any] = {
            "timeout": self.lock_timeout,
            "sleep": given.pop("lock_sleep", 0.01),
            "thread_local": False,  # the one who creates in the background is another thread
        }
        if self.lock_timeout is not None and not 0 < float(self.lock_timeout) < FOREVER_SECONDS:
            raise ValueError(f"lock_timeout is a positive number of seconds: found={self.lock_timeout!r}")
        if not 0 <= float(self._lock_options["sleep"]) < FOREVER_SECONDS:
            raise ValueError(f"lock_sleep is a number of seconds: found={self._lock_options['sleep']!r}")
        secret_keys = given.pop("secret_keys", None)
        if secret_keys is not None:
            self._seal_with([secret_keys] if isinstance(secret_keys, str | bytes) else list(secret_keys))
        self._max_bytes = given.pop("max_bytes", UNCHANGED)
        self._options = {name: given.pop(name) for name in Options._fields if name in given}
        Options.checked(self._options)
        for name in given:
            logger.warning("an argument of the ferrokv backend is not known, and ignored: %s", name)
        self._opening = ProcessLock()
        self._handle: BlockingFerroKV | None = None
        self._locks: BlockingFerroKV | None = None
        self._owing: dict[bytes, FerroKVMutex] = {}

    def _seal_with(self, secret_keys: list[str | bytes]) -> None:
        """Values of a region without a serializer of its own are sealed from now on."""
        if not secret_keys or not all(secret_keys):
            raise ValueError("secret_keys is a key, or a list of keys, none of them empty")
        codec = ValueCodec(secret_keys, logger=logger, security_logger=logger)

        def unsealed(stored: bytes) -> Any:
            found = codec.decode(stored)
            if found is MISSING:
                raise CantDeserializeException
            return found

        self.serializer = codec.encode
        self.deserializer = unsealed

    def _db(self) -> BlockingFerroKV:
        """The handle; the first use opens it."""
        if self._handle is None:
            with self._opening.own():
                if self._handle is None:
                    opened = open_bounded(self.path, self.keyspace, self._options, self._max_bytes)
                    try:
                        self._locks = opened.keyspace(self.keyspace + LOCKS_SUFFIX)
                    except BaseException:  # interrupted, too: nobody else would close it
                        opened.close()
                        raise
                    self._handle = opened
                    opened.when_replaced(self._forget)
                    return opened
        return self._handle

    def _forget(self) -> None:
        """The directory was removed or replaced: the next use opens what is there then."""
        self._handle = None
        self._owing.clear()

    def get_serialized(self, key: str) -> Any:
        """The bytes of the key, or NO_VALUE."""
        found = (self._handle or self._db()).get(stored_key(key))
        return NO_VALUE if found is None else found

    def get_serialized_multi(self, keys: Iterable[str]) -> Any:
        """The bytes of each key, or NO_VALUE, in the order of the keys, all of one moment."""
        names = [stored_key(key) for key in keys]
        return [NO_VALUE if found is None else found for found in self._db().mget(names)] if names else []

    def set_serialized(self, key: str, value: bytes) -> None:
        """Durable when it returns."""
        if self._ttl_ms is None:
            self._db().set(stored_key(key), value)
        else:
            self._db().psetex(stored_key(key), self._ttl_ms, value)

    def set_serialized_multi(self, mapping: Mapping[str, bytes]) -> None:
        """All of them in one commit with one sync, or none; more than 50,000 in several."""
        for batch in in_batches((stored_key(key), value, self._ttl_ms) for key, value in mapping.items()):
            if batch:
                self._db().write(batch)

    def delete(self, key: str) -> None:
        """It does not matter whether there is one."""
        self._db().delete(stored_key(key))

    def delete_multi(self, keys: Iterable[str]) -> None:
        """In one commit with one sync; more than 50,000 in several."""
        for names in in_parts([stored_key(key) for key in keys]):
            self._db().delete(*names)

    def has_lock_timeout(self) -> bool:
        """True if a lock may become free while its holder is still at work."""
        return self.distributed_lock and self.lock_timeout is not None

    def get_mutex(self, key: str) -> Any:
        """A mutex of the key among all threads and processes; None, for which dogpile takes one of its own, among threads."""
        if not self.distributed_lock:
            return None
        self._db()
        assert self._locks is not None
        name = stored_key(key)
        return self._owing.get(name) or FerroKVMutex(self._locks, name, self._lock_options, self._owing)
