"""What both faces of the session engine share: where sessions are, their bytes, and the transactions that keep the index by user.

The index holds the sessions in which somebody is logged in: for each user a sorted set of session keys by the moment when each
expires. Whoever saves or deletes a session changes it in the same commit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

from django.conf import settings
from django.contrib.sessions.backends.base import CreateError, SessionBase, UpdateError
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from ferrokv import Tx

from .backend import FerroKVCache
from .base import place_of
from .handles import Place

KEYSPACE: Final = "sessions"
USERS_KEYSPACE: Final = "sessions:users"
SESSION_KEY_BYTES_MAX: Final = 1024
FORGOTTEN_AFTER_MS: Final = 86_400_000  # by the index, which an expired session leaves with the next one
USER: Final = "_auth_user_id"  # django.contrib.auth.SESSION_KEY, where login() puts the user's primary key


def is_ours(params: Mapping[str, Any]) -> bool:
    """True for an entry of CACHES whose backend is ferrokv's. Of one that can not be imported Django tells where it is used."""
    try:
        backend = import_string(params["BACKEND"])
    except (ImportError, KeyError):
        return False
    return isinstance(backend, type) and issubclass(backend, FerroKVCache)


@lru_cache(maxsize=1)
def session_place() -> Place:
    """The sessions' keyspace: in the directory of SESSION_CACHE_ALIAS, or of the first alias that uses ferrokv."""
    for alias in (settings.SESSION_CACHE_ALIAS, *settings.CACHES):
        params = settings.CACHES.get(alias)
        if params is not None and is_ours(params):
            return place_of(params.get("LOCATION", ""), params).beside(KEYSPACE)
    raise ImproperlyConfigured("SESSION_ENGINE ferrokv.contrib.django.sessions needs a FerroKVCache in CACHES.")


def _forget_place(*, setting: str, **kwargs: Any) -> None:
    if setting in ("CACHES", "SESSION_CACHE_ALIAS"):
        session_place.cache_clear()


setting_changed.connect(_forget_place)


class Saving(NamedTuple):
    """One save: `name` is None for a key that no session can have; `user` is logged in, `old_user` was when it was loaded."""

    name: bytes | None
    data: bytes
    ttl_ms: int
    must_create: bool
    user: str | None
    old_user: str | None

    @property
    def is_plain(self) -> bool:
        """True if it changes one record only: a conditional SET does it."""
        return self.ttl_ms > 0 and self.user is None and self.old_user is None

    def run(self, tx: Tx) -> bool:
        """The save as a transaction: False if the session is there and must not be, or the other way round."""
        assert self.name is not None
        if bool(tx.exists(self.name)) == self.must_create:
            return False
        users = tx.keyspace(USERS_KEYSPACE)
        if self.old_user is not None and self.old_user != self.user:
            users.zrem(self.old_user, self.name)
        if self.ttl_ms <= 0:
            tx.delete(self.name)
            if self.user is not None:
                users.zrem(self.user, self.name)
        else:
            tx.set(self.name, self.data, px=self.ttl_ms)
            if self.user is not None:
                _enter(users, self.user, self.name, self.ttl_ms)
        return True


def _enter(users: Tx, user: str, name: bytes, ttl_ms: int) -> None:
    """Note that the user has the session for so long. A new one is the occasion to forget those that have long expired."""
    now_ms = int(time.time() * 1000)
    if users.zadd(user, {name: now_ms + ttl_ms}):
        # Not those that have only just done so: the clock may be wrong, and a session that lives has to be found here.
        users.zremrangebyscore(user, "-inf", now_ms - FORGOTTEN_AFTER_MS)
    if users.pttl(user) < ttl_ms:
        users.pexpire(user, ttl_ms)


class SessionSteps(SessionBase):
    """A session's key and bytes."""

    _user: str | None = None  # who the index says has this session

    def _name(self, session_key: str | None) -> bytes | None:
        """The stored key; None for a key that can not be ours, such as an empty or an overlong one from a cookie."""
        if not session_key:
            return None
        name = session_key.encode("utf-8", "surrogatepass")
        return name if len(name) <= SESSION_KEY_BYTES_MAX else None

    def _loaded(self, stored: bytes | None) -> dict[str, Any]:
        if stored is None:
            self._session_key = None  # a key that somebody made up is not adopted
            return {}
        data = self.decode(stored.decode("utf-8", "replace"))
        self._user = data.get(USER)
        return data

    def _saving(self, session: dict[str, Any], seconds: float, must_create: bool) -> Saving:
        user = session.get(USER)
        return Saving(
            self._name(self.session_key),
            self.encode(session).encode(),
            int(seconds * 1000),
            must_create,
            None if user is None else str(user),
            None if must_create else self._user,
        )

    def _note_saved(self, saving: Saving, saved: bool) -> None:
        if not saved:
            raise CreateError if saving.must_create else UpdateError
        if not saving.must_create or saving.user is not None:
            self._user = saving.user

    def _deleting(self, name: bytes) -> Callable[[Tx], None]:
        user = self._user
        assert user is not None

        def delete(tx: Tx) -> None:
            tx.delete(name)
            tx.keyspace(USERS_KEYSPACE).zrem(user, name)

        return delete
