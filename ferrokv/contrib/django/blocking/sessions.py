# Made by `python -m tools.make_twins` from contrib/django/aio/sessions.py; edit that.
"""The methods of the session engine. Each one is a single atomic step of the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.sessions.backends.base import CreateError

from ..pipelining import CURRENT
from ..session_steps import SessionSteps, session_location

if TYPE_CHECKING:
    from ferrokv.contract.blocking.cache import BlockingCache


class BlockingSessions(SessionSteps):
    """Creates, saves, loads and deletes sessions."""

    @staticmethod
    def _store() -> BlockingCache:
        """Return the commands of the sessions' keyspace; in `pipelined`, of its deferral."""
        location = session_location()
        pipelined = CURRENT.get()
        if pipelined is None:
            return location.blocking
        handle = location.blocking.ready()
        deferral = pipelined.deferral(handle, location.path)
        return handle if deferral is None else handle.within(deferral)

    def exists(self, session_key: str | None) -> bool:
        """True if there is such a session."""
        name = self._name(session_key)
        return name is not None and bool((self._store()).exists(name))

    def create(self) -> None:
        """Give this object a new session key, and save the session at once."""
        old_key = self._session_key
        while True:
            self._session_key = self._get_new_session_key()  # type: ignore[attr-defined]
            try:
                self.save(must_create=True)
            except CreateError:
                continue
            except BaseException:
                # If the key of a session that was never created stayed, every further save would be
                # an update and fail.
                self._session_key = old_key
                raise
            self.modified = True
            return

    def save(self, must_create: bool = False) -> None:
        """Save the session in one atomic step.

        With `must_create` it must be new, or `CreateError` is raised; otherwise it must exist, or
        `UpdateError` is raised.
        """
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
        """Delete a session, by default this one. It need not exist."""
        name = self._name(self.session_key if session_key is None else session_key)
        if name is None:
            return
        db = self._store()
        if self._user is None:
            db.delete(name)
        else:
            db.transaction(self._deleting(name))

    def load(self) -> dict[str, Any]:
        """Load the data. For an unknown session, return {} and forget the key."""
        name = self._name(self.session_key)
        return self._loaded(None if name is None else (self._store()).get(name))

    @classmethod
    def clear_expired(cls) -> None:
        """Do nothing: expired sessions vanish by themselves; compaction reclaims their space."""
