"""What both kinds of session methods share: the keyspaces, the bytes, and the index by user.

The index holds the sessions with a logged-in user: for each user a sorted set of session keys,
scored by expiry time. Saving or deleting a session updates it in the same commit.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from hashlib import blake2b
from threading import RLock
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from django.conf import settings
from django.contrib.sessions.backends.base import CreateError, SessionBase, UpdateError
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from ferrokv import DataError
from ferrokv.connecting import resolve_location

from .backend import FerroKVCache
from .base import location_of
from .handles import CacheLocation, make_temporary

if TYPE_CHECKING:
    from ferrokv.contract.transactions import CacheTx

KEYSPACE: Final = "sessions"
USERS_KEYSPACE: Final = "sessions:users"
LOCATION_SETTING: Final = "FERROKV_SESSION_LOCATION"
SESSION_KEY_BYTES_MAX: Final = 1024
USER_BYTES_MAX: Final = 1024  # a longer user id is hashed
# The index drops an expired session after this, when the user's next one is added.
FORGOTTEN_AFTER_MS: Final = 86_400_000
USER: Final = "_auth_user_id"  # django.contrib.auth.SESSION_KEY, under which login() stores the primary key


def is_ours(params: Mapping[str, Any]) -> bool:
    """True for an entry of CACHES with a ferrokv backend.

    If a backend cannot be imported, Django reports it where the entry is used.
    """
    try:
        backend = import_string(params["BACKEND"])
    except (ImportError, KeyError):
        return False
    return isinstance(backend, type) and issubclass(backend, FerroKVCache)


def session_params() -> Mapping[str, Any] | None:
    """Return the entry of CACHES that says where the sessions are, or None if no cache uses ferrokv.

    It is SESSION_CACHE_ALIAS, or the first alias that uses ferrokv; FERROKV_SESSION_LOCATION, a
    directory, stands before all of them.
    """
    own = getattr(settings, LOCATION_SETTING, None)
    if own is not None:
        # A process opens a directory with one set of options.
        same = (params for params in settings.CACHES.values() if is_ours(params) and _is_same(params, own))
        return next(same, {"LOCATION": own})
    for alias in (settings.SESSION_CACHE_ALIAS, *settings.CACHES):
        params: Mapping[str, Any] | None = settings.CACHES.get(alias)
        if params is not None and is_ours(params):
            return params
    return None


def _is_same(params: Mapping[str, Any], location: Any) -> bool:
    try:
        return resolve_location(params["LOCATION"]) == resolve_location(location)
    except (KeyError, TypeError, DataError):
        return False  # whoever uses the entry is told of it


def session_location() -> CacheLocation:
    """As `_session_location`, and the same for threads that ask first at the same time."""
    with _locating:
        return _session_location()


@lru_cache(maxsize=1)
def _session_location() -> CacheLocation:
    """The keyspace of the sessions: `session_params` says in which directory.

    If nothing does, as in the tests of a project whose CACHES are in memory, it is a temporary
    directory of this process, which is removed at its end.
    """
    params = session_params()
    if params is None:
        params = {"LOCATION": make_temporary("ferrokv-sessions-")}
    return location_of(params.get("LOCATION", ""), params).sibling(KEYSPACE)


def _forget_location(*, setting: str, **kwargs: Any) -> None:
    if setting in ("CACHES", "SESSION_CACHE_ALIAS", LOCATION_SETTING):
        _session_location.cache_clear()


setting_changed.connect(_forget_location)
_locating = RLock()


def _renew_in_child() -> None:
    global _locating
    _locating = RLock()  # another thread of the parent may hold it


os.register_at_fork(after_in_child=_renew_in_child)


class Saving(NamedTuple):
    """One save. `name` is None for a key that no session can have.

    `user` is logged in now; `old_user` was when the session was loaded. Both are names of the index.
    """

    name: bytes | None
    data: bytes
    ttl_ms: int
    must_create: bool
    user: bytes | None
    old_user: bytes | None

    @property
    def is_plain(self) -> bool:
        """True if it changes a single record, so that a conditional SET is enough."""
        return self.ttl_ms > 0 and self.user is None and self.old_user is None

    def run(self, tx: CacheTx) -> bool:
        """Save in a transaction.

        False if the session exists but must not, or the other way round.
        """
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


def index_name(user: object) -> bytes | None:
    """Return the key of a user's sessions in the index; None if nobody is logged in.

    `user` is what `_auth_user_id` holds: text as `login` stores it, or whatever else a program put
    there, such as an int, a UUID or a lazy object. What names the same user gives the same key.
    """
    if user is None:
        return None
    name = str(user).encode("utf-8", "surrogatepass")
    return name if 0 < len(name) <= USER_BYTES_MAX else b"\0" + blake2b(name, digest_size=32).digest()


def _enter(users: CacheTx, user: bytes, name: bytes, ttl_ms: int) -> None:
    """Add the session to the user's index. If it is new, drop sessions that expired long ago."""
    now_ms = int(time.time() * 1000)
    if users.zadd(user, {name: now_ms + ttl_ms}):
        # Keep those that expired recently: the clock may be wrong, and a live session must be found
        # here.
        users.zremrangebyscore(user, "-inf", now_ms - FORGOTTEN_AFTER_MS)
    if users.pttl(user) < ttl_ms:
        users.pexpire(user, ttl_ms)


class SessionSteps(SessionBase):
    """A session's key and bytes."""

    _user: bytes | None = None  # the name of the user who has this session according to the index

    def _name(self, session_key: str | None) -> bytes | None:
        """Return the stored key.

        None for a key from a cookie that cannot be ours, such as an overlong one.
        """
        if not session_key:
            return None
        name = session_key.encode("utf-8", "surrogatepass")
        return name if len(name) <= SESSION_KEY_BYTES_MAX else None

    def _loaded(self, stored: bytes | None) -> dict[str, Any]:
        if stored is None:
            self._session_key = None  # never adopt a key that somebody made up
            return {}
        data = self.decode(stored.decode("utf-8", "replace"))
        self._user = index_name(data.get(USER))
        return data

    def _saving(self, session: dict[str, Any], seconds: float, must_create: bool) -> Saving:
        return Saving(
            self._name(self.session_key),
            self.encode(session).encode(),
            int(seconds * 1000),
            must_create,
            index_name(session.get(USER)),
            None if must_create else self._user,
        )

    def _note_saved(self, saving: Saving, saved: bool) -> None:
        if not saved:
            raise CreateError if saving.must_create else UpdateError
        if not saving.must_create or saving.user is not None:
            self._user = saving.user

    def _deleting(self, name: bytes) -> Callable[[CacheTx], None]:
        user = self._user
        assert user is not None

        def delete(tx: CacheTx) -> None:
            tx.delete(name)
            tx.keyspace(USERS_KEYSPACE).zrem(user, name)

        return delete
