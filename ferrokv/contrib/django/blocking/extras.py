# Made by `python -m tools.make_twins` from contrib/django/aio/extras.py; edit that.
"""What django-redis offers beyond Django's contract, under the same names, for code that uses it.

As in django-redis, the TTL of a missing key is 0, and that of a key without timeout is None.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from django.core.cache.backends.base import DEFAULT_TIMEOUT

from ...codecs.envelopes import STALE, open_envelope
from ...shared import NUMBERS
from ..patterns import glob_of, reversal_of
from .appending_lock import BlockingAppendingLock
from .values import BlockingValues

DELETED_EACH: Final = 10_000  # per commit
PAGE: Final = 500


class BlockingExtras(BlockingValues):
    """TTLs, keys by pattern, and locks."""

    def pttl(self, key: Any, version: int | None = None) -> int | None:
        """Return the remaining milliseconds; None without a timeout, 0 if there is no such key."""
        name = self._key(key, version)
        db = self._store()
        stored = db.get(name)
        if stored is None or not self._is_there(stored):
            return 0
        if stored[:1] == STALE:
            opened = open_envelope(stored)
            if opened is not None and opened.soft_ms is not None:
                return max(0, opened.soft_ms - int(time.time() * 1000))
        left = db.pttl(name)
        return None if left == -1 else max(left, 0)

    def ttl(self, key: Any, version: int | None = None) -> int | None:
        """As `pttl`, in seconds, rounded."""
        left = self.pttl(key, version=version)
        return None if left is None else (left + 500) // 1000

    def persist(self, key: Any, version: int | None = None) -> bool:
        """Remove the timeout. Returns True if there was one."""
        name = self._key(key, version)
        db = self._store()
        return self._make_plain(db, name) and bool(db.persist(name))

    def expire(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        """Let the key expire `timeout` seconds from now, None for never. Returns True if it exists."""
        return self._expire_in(self._key(key, version), self._ttl_ms(timeout))

    def pexpire(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        """As `expire`, in milliseconds."""
        ttl_ms = int(timeout) if isinstance(timeout, NUMBERS) else self._ttl_ms(timeout)
        return self._expire_in(self._key(key, version), ttl_ms)

    def expire_at(self, key: Any, when: datetime | int, version: int | None = None) -> bool:
        """Let the key expire at a datetime, or at a moment in seconds since 1970.

        True if it exists.
        """
        name = self._key(key, version)
        db = self._store()
        return self._make_plain(db, name) and bool(db.expireat(name, when))

    def pexpire_at(self, key: Any, when: datetime | int, version: int | None = None) -> bool:
        """As `expire_at`, in milliseconds."""
        name = self._key(key, version)
        db = self._store()
        return self._make_plain(db, name) and bool(db.pexpireat(name, when))

    def iter_keys(self, search: str, itersize: int | None = None, version: int | None = None) -> Iterator[str]:
        """Iterate over the keys that match a glob, as callers name them, page by page."""
        db = self._settled_store()
        reverse = reversal_of(self, self._reverse_key, version)
        page = []
        for name in db.scan_iter(glob_of(self, search, version)):
            page.append(name)
            if len(page) >= (itersize or PAGE):
                for live in self._live_names(db, page):
                    yield reverse(live)
                page = []
        for live in self._live_names(db, page):
            yield reverse(live)

    def keys(self, search: str, version: int | None = None) -> list[str]:
        """Return the keys that match a glob, as callers name them."""
        db = self._settled_store()
        names = self._live_names(db, db.keys(glob_of(self, search, version)))
        return list(map(reversal_of(self, self._reverse_key, version), names))

    def delete_pattern(
        self, pattern: str, version: int | None = None, prefix: str | None = None, itersize: int | None = None
    ) -> int:
        """Delete the keys that match a glob, 10,000 per commit, and return how many there were."""
        db = self._settled_store()
        names = db.keys(glob_of(self, pattern, version, prefix))
        deleted = 0
        for start in range(0, len(names), DELETED_EACH):
            deleted += db.delete(*names[start : start + DELETED_EACH])
        return deleted

    def lock(
        self,
        key: Any,
        version: int | None = None,
        timeout: float | None = None,
        sleep: float = 0.1,
        blocking: bool = True,
        blocking_timeout: float | None = None,
        thread_local: bool = True,
    ) -> BlockingAppendingLock:
        """Return a lock among all processes, to be used as a context manager.

        It becomes free after `timeout`, or when its process ends.
        """
        name = self._key(key, version)
        return BlockingAppendingLock(
            self._location.blocking.lock(name, timeout, sleep, blocking, blocking_timeout, thread_local=thread_local)
        )
