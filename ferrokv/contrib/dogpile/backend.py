"""`FerroKVBackend`: dogpile.cache's backend contract on ferrokv."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping
from typing import Any, Final

from dogpile.cache.api import NO_VALUE, BytesBackend, CantDeserializeException

from ferrokv import Options, connect_blocking
from ferrokv.options import UNCHANGED

from ..codecs import MISSING, ValueCodec
from ..shared import FOREVER_SECONDS, in_batches, in_parts, open_options, whole_ms
from .mutex import FerroKVMutex

logger = logging.getLogger("ferrokv.contrib.dogpile")

KEY_BYTES_MAX: Final = 65_535
LOCKS_SUFFIX: Final = ":locks"


def stored_key(key: str) -> bytes:
    """Return the key in UTF-8, or its SHA-256 if ferrokv cannot store it.

    That is a key that is empty, too long (such as one made of a function's arguments), or not valid
    Unicode.
    """
    try:
        encoded = key.encode()
    except UnicodeEncodeError:
        encoded = b""
    if 0 < len(encoded) <= KEY_BYTES_MAX:
        return encoded
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest().encode()


class FerroKVBackend(BytesBackend):
    """Keeps values in one keyspace of the store at the argument `path`, opened on first use.

    Arguments, all optional except `path`:

    - `keyspace` ("dogpile"): regions with different keyspaces are independent.
    - `ferrokv_expiration_time`: seconds after which a value is removed, exact to the millisecond.
      Make it longer than the region's expiration time, so that dogpile can return the old value
      while a new one is created. By default values are never removed.
    - `distributed_lock` (True): one creator per key among all threads and processes; if False,
      among the threads of one process.
    - `lock_timeout` (None): seconds after which a lock is released in any case. It is also released
      when its process ends.
    - `lock_sleep` (0.01): accepted for compatibility, but ignored: waiters are woken.
    - `secret_keys`: a key, or several, that pickles are sealed with, so that write access to the
      directory is not enough to run code. The first key seals, and all are accepted. A value without
      a valid seal counts as missing.
    - `max_bytes`: about how much the keyspace may hold. Beyond it, expired keys are evicted first,
      then the least used.
    - the fields of `ferrokv.Options`.

    As in dogpile's own backends, other arguments are ignored; they are logged. One object may be
    used by any thread, and by forked children.
    """

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        given = dict(arguments)
        if not given.get("path"):
            raise ValueError("the ferrokv backend needs the argument path: the directory of the store")
        self.path = given.pop("path")
        self.keyspace = str(given.pop("keyspace", "dogpile"))
        if self.keyspace.endswith(LOCKS_SUFFIX):
            raise ValueError(f"the keyspace {self.keyspace!r} is reserved for the locks of another keyspace")
        self._ttl_ms = whole_ms(float(given.pop("ferrokv_expiration_time", None) or 0))
        self.distributed_lock = bool(given.pop("distributed_lock", True))
        self.lock_timeout = given.pop("lock_timeout", None)
        self._lock_options: dict[str, Any] = {
            "timeout": self.lock_timeout,
            "sleep": given.pop("lock_sleep", 0.01),
            "thread_local": False,  # a background creator is another thread
        }
        if self.lock_timeout is not None and not 0 < float(self.lock_timeout) < FOREVER_SECONDS:
            raise ValueError(f"lock_timeout must be a positive number of seconds: found={self.lock_timeout!r}")
        if not 0 <= float(self._lock_options["sleep"]) < FOREVER_SECONDS:
            raise ValueError(f"lock_sleep must be a number of seconds: found={self._lock_options['sleep']!r}")
        secret_keys = given.pop("secret_keys", None)
        if secret_keys is not None:
            self._seal_with([secret_keys] if isinstance(secret_keys, str | bytes) else list(secret_keys))
        max_bytes = given.pop("max_bytes", UNCHANGED)
        options = open_options({name: given.pop(name) for name in Options._fields if name in given})
        for name in given:
            logger.warning("ignoring an unknown argument of the ferrokv backend: %s", name)
        # The first use opens the store.
        self._db = connect_blocking(self.path, keyspace=self.keyspace, max_bytes=max_bytes, **options)
        self._locks = self._db.keyspace(self.keyspace + LOCKS_SUFFIX)
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

    def get_serialized(self, key: str) -> Any:
        """Return the bytes of the key, or NO_VALUE."""
        found = self._db.get(stored_key(key))
        return NO_VALUE if found is None else found

    def get_serialized_multi(self, keys: Iterable[str]) -> Any:
        """Return the bytes of each key, or NO_VALUE, in order and all as of one moment."""
        names = [stored_key(key) for key in keys]
        return [NO_VALUE if found is None else found for found in self._db.mget(names)] if names else []

    def set_serialized(self, key: str, value: bytes) -> None:
        """Set a key. It is durable on return."""
        if self._ttl_ms is None:
            self._db.set(stored_key(key), value)
        else:
            self._db.psetex(stored_key(key), self._ttl_ms, value)

    def set_serialized_multi(self, mapping: Mapping[str, bytes]) -> None:
        """Set the keys atomically with one sync; more than 50,000 in several commits."""
        for batch in in_batches((stored_key(key), value, self._ttl_ms) for key, value in mapping.items()):
            if batch:
                self._db.write(batch)

    def delete(self, key: str) -> None:
        """Delete the key if it exists."""
        self._db.delete(stored_key(key))

    def delete_multi(self, keys: Iterable[str]) -> None:
        """Delete the keys atomically with one sync; more than 50,000 in several commits."""
        for names in in_parts([stored_key(key) for key in keys]):
            self._db.delete(*names)

    def has_lock_timeout(self) -> bool:
        """True if a lock may expire while its holder is still working."""
        return self.distributed_lock and self.lock_timeout is not None

    def get_mutex(self, key: str) -> Any:
        """Return a mutex for the key among all threads and processes.

        With `distributed_lock=False` it returns None, and dogpile uses its own mutex among threads.
        """
        if not self.distributed_lock:
            return None
        name = stored_key(key)
        return self._owing.get(name) or FerroKVMutex(self._locks, name, self._lock_options, self._owing)
