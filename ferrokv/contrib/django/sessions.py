"""`SESSION_ENGINE = "ferrokv.contrib.django.sessions"`: sessions in a keyspace of their own.

`cache.clear()` does not affect them, and they are never evicted. Expiry is a native TTL, so nothing
needs to be cleared. Saving is one conditional write, so a session that was logged out meanwhile is
not brought back. The data is Django's own signed encoding. `flush_user_sessions(user)` logs a user
out everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ferrokv import DataError

from .aio.sessions import AsyncSessions
from .blocking.sessions import BlockingSessions
from .session_steps import KEYSPACE, USERS_KEYSPACE, index_name, session_location

if TYPE_CHECKING:
    from ferrokv.contract.transactions import CacheTx

__all__ = [
    "KEYSPACE",
    "SessionStore",
    "aflush_user_sessions",
    "auser_session_keys",
    "flush_user_sessions",
    "session_location",
    "user_session_keys",
]


class SessionStore(AsyncSessions, BlockingSessions):
    """One session. The synchronous and the asynchronous methods are equally atomic."""


def flush_user_sessions(user: Any, *, keep: str | None = None) -> int:
    """Atomically end all sessions of the user, except `keep`, and return how many were ended.

    `user` is a user or a primary key; `keep` is a session key. A request in progress cannot bring
    such a session back: saving it fails.
    """
    return BlockingSessions._store().transaction(_flushing(_key_of(user), keep))


async def aflush_user_sessions(user: Any, *, keep: str | None = None) -> int:
    """As `flush_user_sessions`, for asyncio."""
    db = await AsyncSessions._a_store()
    return await db.transaction(_flushing(_key_of(user), keep))


def user_session_keys(user: Any) -> list[str]:
    """Return the keys of the sessions in which the user is logged in, the first to expire first."""
    return BlockingSessions._store().transaction(_listing(_key_of(user)))


async def auser_session_keys(user: Any) -> list[str]:
    """As `user_session_keys`, for asyncio."""
    db = await AsyncSessions._a_store()
    return await db.transaction(_listing(_key_of(user)))


def _key_of(user: Any) -> bytes:
    """Return the name in the index of a user, or of a primary key as `login` stores it."""
    meta = getattr(user, "_meta", None)
    name = index_name(user if meta is None else meta.pk.value_to_string(user))
    if name is None:
        raise DataError("a user or a primary key is needed: found=None")
    return name


def _flushing(user: bytes, keep: str | None) -> Callable[[CacheTx], int]:
    kept = None if keep is None else keep.encode()

    def flush(tx: CacheTx) -> int:
        users = tx.keyspace(USERS_KEYSPACE)
        names = [name for name in users.zrange(user, 0, -1) if name != kept]
        if not names:
            return 0
        users.zrem(user, *names)
        return tx.delete(*names)

    return flush


def _listing(user: bytes) -> Callable[[CacheTx], list[str]]:
    def list_keys(tx: CacheTx) -> list[str]:
        names = tx.keyspace(USERS_KEYSPACE).zrange(user, 0, -1)
        return [name.decode() for name in names if tx.exists(name)]

    return list_keys
