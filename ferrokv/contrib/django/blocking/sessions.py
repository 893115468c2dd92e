# Made by `python -m tools.make_twins` from contrib/django/aio/sessions.py; edit that.
"""Sessions: the session engine's methods, each one atomic step of the store."""

from __future__ import annotations

from typing import Any

from django.contrib.sessions.backends.base import CreateError

from ..pipelining import CURRENT
from ..session_steps import SessionSteps, session_place


class BlockingSessions(SessionSteps):
    """Creating, saving, loading and deleting."""

    @staticmethod
    def _store() -> Any:
        """The commands of the sessions' keyspace; inside `pipelined`, of its deferral."""
        place = session_place()
        handle = place.blocking()
        pipelined = CURRENT.get()
        deferral = None if pipelined is None else pipelined.deferral(handle, place.path)
        return handle if deferral is None else handle.within(deferral)

    def exists(self, session_key: str | None) -> bool:
        """True if there is such a session."""
        name = self._name(session_key)
        return name is not None and bool((self._store()).exists(name))

    def create(self) -> None:
        """Give this object the key of a new session, which is saved at once."""
        old_key = self._session_key
        while True:
            self._session_key = self._get_new_session_key()  # type: ignore[attr-defined]
            try:
                self.save(must_create=True)
            except CreateError:
                continue
            except BaseException:
                # With the key of a session that was never made, a second try would be taken for an update, and fail for ever.
                self._session_key = old_key
                raise
            self.modified = True
            return

    def save(self, must_create: bool = False) -> None:
        """Insert with `must_create` (else `CreateError`), or update what exists (else `UpdateError`), in one step."""
        if self.session_key is None:
            self.create()
            return
        session = self._get_session(no_load=must_create)  # type: ignore[attr-defined]
        saving = self._saving(session, self.get_expiry_age(), must_create)
        db = self._store()
        if saving.name is None:
            saved = False
        elif saving.is_plain:
            saved = db.set(saving.name, saving.data, px=saving.ttl_ms, nx=must_create, xx=not must_create) is True
        else:
            saved = db.transaction(saving.run)
        self._note_saved(saving, saved)

    def delete(self, session_key: str | None = None) -> None:
        """End a session; this one without an argument. It does not matter whether there is one."""
        name = self._name(self.session_key if session_key is None else session_key)
        if name is None:
            return
        db = self._store()
        if self._user is None:
            db.delete(name)
        else:
            db.transaction(self._deleting(name))

    def load(self) -> dict[str, Any]:
        """The data; of an unknown session {}, and this object forgets its key."""
        name = self._name(self.session_key)
        return self._loaded(None if name is None else (self._store()).get(name))

    @classmethod
    def clear_expired(cls) -> None:
        """Nothing: expired sessions are invisible at once, and compaction takes their space back."""
