# Made by `python -m tools.make_twins` from contrib/django/aio/contract.py; edit that.
"""Django's cache contract. On the event loop, a hit in memory never needs a thread.

Values may carry tags. The keyspace `<cache>:tags` holds a random token for each tag that was ever
deleted. A value that is set with tags is stored in an envelope with the tokens at that time, its
guard, and counts only while all of them still match. So `delete_tag` just writes a new token: O(1),
however many values have the tag. Tokens are looked up before a value is computed, so a value
computed from data of before an invalidation does not count after it. Clearing the cache empties the
tags' keyspace as well, and renews a token of its own there (EPOCH) that is part of every guard.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, overload

from django.core.cache.backends.base import DEFAULT_TIMEOUT

from ferrokv import ResponseError

from ...codecs.envelopes import ENVELOPES, EPOCH, new_token, seal_in
from ...codecs.values import INT64_MAX, INT64_MIN, MISSING
from ...shared import in_parts
from ..base import flattened
from ..herds import Computation, checked_stale_ttl
from ..pipelining import CURRENT
from .herd import BlockingHerd
from .values import BlockingValues

if TYPE_CHECKING:
    from ferrokv.contract.transactions import CacheTx


class BlockingContract(BlockingValues):
    """Each method is atomic among all threads, event loops and processes."""

    def get(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        """Return the value, or `default` if it is missing, expired, invalidated or badly sealed."""
        name = self._key(key, version)
        db = self._location.blocking if CURRENT.get() is None else self._store()
        stored = db.get(name)
        if stored is None:
            return default
        value = self._codec.decode(stored)
        if value is MISSING and stored[:1] in ENVELOPES:
            value = self._value(stored)
        return default if value is MISSING else value

    def get_or_set(
        self,
        key: Any,
        default: Any,
        timeout: Any = DEFAULT_TIMEOUT,
        version: int | None = None,
        *,
        stale_ttl: float | timedelta | None = None,
        tags: Sequence[str] | str | None = None,
    ) -> Any:
        """Return the cached value, or compute it: one caller in all processes, the others wait.

        `default` is a value, or a callable that computes it; for asyncio, also a coroutine function.
        With `stale_ttl`, the value is kept that many seconds beyond its timeout, and callers get
        the old value at once while a new one is computed. An invalidation of `tags` during the
        computation counts, so a value computed from old data does not survive it.
        """
        name = self._key(key, version)
        stored_name = (self._location.path, self._location.keyspace, name)
        wanted = Computation(stored_name, default, self._ttl_ms(timeout), checked_stale_ttl(stale_ttl), tags)
        return BlockingHerd(self, wanted).value()

    def set(  # type: ignore[override]
        self,
        key: Any,
        value: Any,
        timeout: Any = DEFAULT_TIMEOUT,
        version: int | None = None,
        *,
        nx: bool = False,
        xx: bool = False,
        tags: Sequence[str] | str | None = None,
    ) -> bool | None:
        """Set a value. Returns None; with `nx` or `xx`, whether it was set.

        `nx` sets the value only if there is none, `xx` only if there is one. `delete_tag` of any
        of its `tags` invalidates the value.
        """
        name, stored, ttl_ms = self._key(key, version), self._encode(value), self._ttl_ms(timeout)
        if tags:
            stored = seal_in(stored, None, self._guard(tags))
        db = self._store()
        if xx and not self._is_there(db.get(name)):
            return False
        if ttl_ms is not None and ttl_ms <= 0:
            if nx:
                return not self._is_live(db.get(name))
            deleted = db.delete(name)
            return bool(deleted) if xx else None
        if nx:
            return self._put_if_missing(db, name, stored, ttl_ms)
        if xx:
            return db.set(name, stored, px=ttl_ms, xx=True) is True
        self._put(db, name, stored, ttl_ms)
        return None

    def add(
        self,
        key: Any,
        value: Any,
        timeout: Any = DEFAULT_TIMEOUT,
        version: int | None = None,
        *,
        tags: Sequence[str] | str | None = None,
    ) -> bool:
        """Set a value if there is none. Returns True if it was set."""
        return bool(self.set(key, value, timeout, version, nx=True, tags=tags))

    def touch(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        """Start the timeout anew. Returns True if there is a value."""
        return self._expire_in(self._key(key, version), self._ttl_ms(timeout))

    def delete(self, key: Any, version: int | None = None) -> bool:
        """Delete a value. Returns True if there was one."""
        name = self._key(key, version)
        db = self._store()
        was_there = self._is_there(db.get(name))
        return bool(db.delete(name)) and was_there

    def get_many(self, keys: Iterable[Any], version: int | None = None) -> dict[Any, Any]:
        """Return the values found, by key, all as of one moment."""
        names = self._keys(keys, version)
        if not names:
            return {}
        db = self._store()
        found: dict[Any, Any] = {}
        tokens: dict[bytes, bytes | None] = {}
        for key, stored in zip(names.values(), db.mget(list(names)), strict=True):
            value = self._value(stored, tokens)
            if value is not MISSING:
                found[key] = value
        return found

    def set_many(
        self,
        data: Mapping[Any, Any],
        timeout: Any = DEFAULT_TIMEOUT,
        version: int | None = None,
        *,
        tags: Sequence[str] | str | None = None,
    ) -> list[Any]:
        """Set all values in one batch with one sync, or none; more than 50,000 in several batches.

        Returns []: whatever goes wrong is raised.
        """
        guard = self._guard(tags) if tags else None
        batches = self._batches(data, timeout, version, guard)
        for batch in batches:
            if batch:
                db = self._store()
                db.write(batch)
        return []

    def delete_many(self, keys: Iterable[Any], version: int | None = None) -> int | None:  # type: ignore[override]
        """Delete the keys in one batch with one sync; more than 50,000 in several batches.

        Returns how many of them were stored; None, as Django's own caches do, if no keys are given.
        """
        deleted = None
        for names in in_parts(list(self._keys(keys, version))):
            db = self._store()
            deleted = (deleted or 0) + db.delete(*names)
        return deleted

    def has_key(self, key: Any, version: int | None = None) -> bool:
        """True if `get` finds a value."""
        name = self._key(key, version)
        db = self._store()
        return self._is_live(db.get(name))

    @overload
    def incr(self, key: Any, delta: int = 1, version: int | None = None, *, ignore_key_check: bool = False) -> int: ...
    @overload
    def incr(self, key: Any, delta: float, version: int | None = None, *, ignore_key_check: bool = False) -> float: ...
    def incr(self, key: Any, delta: Any = 1, version: int | None = None, *, ignore_key_check: bool = False) -> Any:
        """Add to a number and return the result. The timeout stays.

        ValueError for a missing key; with `ignore_key_check` it counts as 0 and gets no timeout.
        TypeError if the value is no number. Whole numbers of 64 bits are one native command; others
        are counted in a transaction.
        """
        name = self._key(key, version)
        self._check_number(key, delta, "delta")
        db = self._store()
        if type(delta) is int and INT64_MIN <= delta <= INT64_MAX:
            try:
                return self._counted(key, db.incr(name, delta, xx=not ignore_key_check))
            except ResponseError as error:
                stored = db.get(name)
                if stored is None:
                    raise self._counter_error(key, error) from error
                # Order: outside of the transaction, since a value of any size may be loaded.
                self._check_number(key, self._value(stored))
        count = partial(self._count_in, key=key, name=name, delta=delta, from_zero=ignore_key_check)
        try:
            return self._counted(key, db.transaction(count))
        except ResponseError as error:
            raise self._counter_error(key, error) from error

    @overload
    def decr(self, key: Any, delta: int = 1, version: int | None = None) -> int: ...
    @overload
    def decr(self, key: Any, delta: float, version: int | None = None) -> float: ...
    def decr(self, key: Any, delta: Any = 1, version: int | None = None) -> Any:
        """Subtract from a number; otherwise as `incr`."""
        return self.incr(key, -delta, version=version)

    def incr_version(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        """Atomically move value and timeout to a higher version, and return that version.

        ValueError for a missing key.
        """
        source, target, new_version = self._versions(key, delta, version)
        db = self._store()
        try:
            if not self._is_there(db.get(source)):
                raise ValueError(f"Key '{key}' not found")
            db.rename(source, target)
        except ResponseError as error:
            raise ValueError(f"Key '{key}' not found") from error
        return new_version

    def decr_version(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        """As `incr_version`, to a lower version."""
        return self.incr_version(key, -delta, version)

    def clear(self) -> None:
        """Clear this cache's keyspace and tags: a few records in one commit, whatever the size."""
        tags_keyspace = self._tags_location.keyspace

        def clear(tx: CacheTx) -> None:
            tx.flushdb()
            tags = tx.keyspace(tags_keyspace)
            if tags.exists(EPOCH):
                tags.flushdb()
                # A value whose tags were looked up before this must not count after it.
                tags.set(EPOCH, new_token())

        db = self._store()
        db.transaction(clear)

    def delete_tag(self, *tags: object) -> None:
        """Invalidate every value that was set with one of the tags, of all versions.

        Each argument is a tag, or a list, tuple or set of tags. O(1) for each tag, whatever the number of values.
        """
        db = self._store(self._tags_location)
        if db.get(EPOCH) is None:
            db.transaction(self._begin_epoch)
        batch = self._new_tokens_of(self._tag_names(flattened(tags)))
        if batch:
            db.write(batch)

    def close(self, **kwargs: Any) -> None:
        """Do nothing: the store is shared, and Django calls this after every request."""
