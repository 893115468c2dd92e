"""`SESSION_ENGINE = "ferrokv.contrib.django.sessions"`: sessions in a keyspace of their own.

`cache.clear()` does not touch them and nothing evicts them; expiry is a native TTL, so nothing has to be cleared. Saving is
one conditional write: a session that was logged out meanwhile is not brought back. Data is Django's own signed encoding.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

from django.conf import settings
from django.contrib.sessions.backends.base import CreateError, SessionBase, UpdateError
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from .cache import FerroKVCache, place_of
from .handles import Place

KEYSPACE: Final = "sessions"
SESSION_KEY_BYTES_MAX: Final = 1024


@lru_cache(maxsize=1)
def session_place() -> Place:
    """The sessions' keyspace: in the directory of SESSION_CACHE_ALIAS, or of the first alias that uses ferrokv."""
    aliases = [settings.SESSION_CACHE_ALIAS, *settings.CACHES]
    for alias in aliases:
        params = settings.CACHES.get(alias)
        if params is None:
            continue
        backend = import_string(params["BACKEND"])
        if isinstance(backend, type) and issubclass(backend, FerroKVCache):
            return replace(place_of(params["LOCATION"], params), keyspace=KEYSPACE)
    raise ImproperlyConfigured("SESSION_ENGINE ferrokv.contrib.django.sessions needs a FerroKVCache in CACHES.")


def _forget_place(*, setting: str, **kwargs: Any) -> None:
    if setting in ("CACHES", "SESSION_CACHE_ALIAS"):
        session_place.cache_clear()


setting_changed.connect(_forget_place)


class SessionStore(SessionBase):
    """One session. The synchronous and the asynchronous methods are equally atomic."""

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
        return self.decode(stored.decode("utf-8", "replace"))

    @staticmethod
    def _check_saved(saved: bool, must_create: bool) -> None:
        if not saved:
            raise CreateError if must_create else UpdateError

    # -- synchronous ---------------------------------------------------------------------------------------------

    def exists(self, session_key: str | None) -> bool:
        name = self._name(session_key)
        return name is not None and bool(session_place().blocking().exists(name))

    def create(self) -> None:
        while True:
            self._session_key = self._get_new_session_key()  # type: ignore[attr-defined]
            try:
                self.save(must_create=True)
            except CreateError:
                continue
            self.modified = True
            return

    def save(self, must_create: bool = False) -> None:
        """Insert with `must_create` (else `CreateError`), or update what exists (else `UpdateError`), in one step."""
        if self.session_key is None:
            self.create()
            return
        data = self.encode(self._get_session(no_load=must_create)).encode()  # type: ignore[attr-defined]
        name = self._name(self.session_key)
        ttl_ms = int(self.get_expiry_age() * 1000)
        db = session_place().blocking()
        if name is None:
            saved = False
        elif ttl_ms <= 0:
            saved = must_create or bool(db.delete(name))
        else:
            saved = db.set(name, data, px=ttl_ms, nx=must_create, xx=not must_create) is True
        self._check_saved(saved, must_create)

    def delete(self, session_key: str | None = None) -> None:
        name = self._name(self.session_key if session_key is None else session_key)
        if name is not None:
            session_place().blocking().delete(name)

    def load(self) -> dict[str, Any]:
        name = self._name(self.session_key)
        return self._loaded(None if name is None else session_place().blocking().get(name))

    @classmethod
    def clear_expired(cls) -> None:
        """Nothing to do: expired sessions are invisible at once, and compaction takes their space back."""

    # -- asynchronous --------------------------------------------------------------------------------------------

    async def aexists(self, session_key: str | None) -> bool:
        name = self._name(session_key)
        if name is None:
            return False
        db = await session_place().native()
        return bool(await db.exists(name))

    async def acreate(self) -> None:
        while True:
            self._session_key = await self._aget_new_session_key()  # type: ignore[attr-defined]
            try:
                await self.asave(must_create=True)
            except CreateError:
                continue
            self.modified = True
            return

    async def asave(self, must_create: bool = False) -> None:
        """As `save`."""
        if self.session_key is None:
            await self.acreate()
            return
        data = self.encode(await self._aget_session(no_load=must_create)).encode()  # type: ignore[attr-defined]
        name = self._name(self.session_key)
        ttl_ms = int(await self.aget_expiry_age() * 1000)
        db = await session_place().native()
        if name is None:
            saved = False
        elif ttl_ms <= 0:
            saved = must_create or bool(await db.delete(name))
        else:
            saved = await db.set(name, data, px=ttl_ms, nx=must_create, xx=not must_create) is True
        self._check_saved(saved, must_create)

    async def adelete(self, session_key: str | None = None) -> None:
        name = self._name(self.session_key if session_key is None else session_key)
        if name is not None:
            db = await session_place().native()
            await db.delete(name)

    async def aload(self) -> dict[str, Any]:
        name = self._name(self.session_key)
        if name is None:
            return self._loaded(None)
        db = await session_place().native()
        return self._loaded(await db.get(name))

    @classmethod
    async def aclear_expired(cls) -> None:
        """As `clear_expired`."""
