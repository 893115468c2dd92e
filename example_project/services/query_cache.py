"""ORM queries through a dogpile region, invalidated by the sessions that change their tables.

Each table has a generation, a random token in the region, and the key of a cached answer has the generations of all tables that it
is made from. Whoever commits a change to a table gives it a new one, so every older answer is out of reach at once, in every
process, without a list of them. The mechanics of `do_orm_execute` and frozen results follow SQLAlchemy's dogpile example.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterable
from typing import Any

from dogpile.cache import CacheRegion
from dogpile.cache.api import NO_VALUE
from sqlalchemy import MetaData, Table, event, inspect
from sqlalchemy.orm import Mapper, ORMExecuteState, Session, SessionTransaction
from sqlalchemy.orm.interfaces import UserDefinedOption
from sqlalchemy.orm.loading import merge_frozen_result
from sqlalchemy.sql import visitors
from sqlalchemy.util import await_only

CHANGED = "query_cache_changed"
BEGUN = "query_cache_generations"
POLL_SECONDS = 0.01


class FromCache(UserDefinedOption):
    """`select(Town).options(FromCache())`: the answer may come from the cache.

    `also` names classes whose tables the answer is made from but the statement does not mention, as with `selectinload`; `name`
    tells apart statements with the same SQL and other loader options; `seconds` takes the place of the region's expiration time.
    """

    propagate_to_loaders = False

    def __init__(self, name: str = "", *, also: Iterable[type] = (), seconds: float | None = None) -> None:
        super().__init__()
        self.name = name
        self.also = tuple(also)
        self.seconds = seconds


class QueryCache:
    """Serves the sessions that it listens on: `listen(Session)`, or for async engines `listen` on their `sync_session_class`.

    Changes by SQL that passes by the ORM are not seen: `forget` them. A process that dies between its commit and the new generation
    leaves old answers until they expire. Sessions that have changed a table themselves, and not committed, ask the database.
    """

    def __init__(self, region: CacheRegion, metadata: MetaData) -> None:
        self._region = region
        self._tables = sorted(table.fullname for table in metadata.tables.values())
        self._statements: dict[Any, str] = {}

    def listen(self, sessions: type[Session]) -> None:
        """Serve every session of this class."""
        event.listen(sessions, "do_orm_execute", self._execute)
        event.listen(sessions, "after_flush", self._after_flush)
        event.listen(sessions, "after_begin", self._after_begin)
        event.listen(sessions, "after_commit", self._after_commit)
        event.listen(sessions, "after_transaction_end", self._after_transaction_end)

    def forget(self, *classes: type) -> None:
        """End every cached answer that is made from the tables of these classes."""
        self._renew({table for kind in classes for table in _tables_of(inspect(kind))})

    # -- reading -------------------------------------------------------------------------------------------------

    def _execute(self, state: ORMExecuteState) -> Any:
        if state.is_insert or state.is_update or state.is_delete:
            if state.bind_mapper is not None:
                _changed(state.session).update(_tables_of(state.bind_mapper))
            return None
        option = next((found for found in state.user_defined_options if isinstance(found, FromCache)), None)
        if option is None or not state.is_select:
            return None
        session = state.session
        if session.autoflush and (session.new or session.dirty or session.deleted):
            session.flush()
        tables = {found.fullname for found in visitors.iterate(state.statement) if isinstance(found, Table)}
        tables |= {table for kind in option.also for table in _tables_of(inspect(kind))}
        if tables & _changed(session):
            return None
        key = self._key(state, option, sorted(tables))
        create = self._create_later if session.get_bind().dialect.is_async else self._create
        frozen = create(key, lambda: state.invoke_statement().freeze(), option.seconds)
        return merge_frozen_result(session, state.statement, frozen, load=False)()

    def _key(self, state: ORMExecuteState, option: FromCache, tables: list[str]) -> str:
        statement_key = state.statement._generate_cache_key()
        assert statement_key is not None, "this statement can not be cached"
        text = statement_key.to_offline_string(self._statements, state.statement, state.parameters or {})
        # As they were when the transaction began, whose view of the database may be as old.
        begun = state.session.info.get(BEGUN)
        generations = self._generations(tables) if begun is None else [begun[table] for table in tables]
        return f"query:{option.name}:{','.join(generations)}:{text}"

    def _generations(self, tables: list[str]) -> list[str]:
        found = self._region.get_multi([f"generation:{table}" for table in tables], ignore_expiration=True)
        return ["" if generation is NO_VALUE else generation for generation in found]

    def _create(self, key: str, create: Callable[[], Any], seconds: float | None) -> Any:
        return self._region.get_or_create(key, create, expiration_time=seconds)

    def _create_later(self, key: str, create: Callable[[], Any], seconds: float | None) -> Any:
        """`get_or_create` on an event loop, which must not wait itself for the mutex and the disk."""
        found = self._region.get(key, expiration_time=seconds)
        if found is not NO_VALUE:
            return found
        mutex = self._region.backend.get_mutex(key)
        assert mutex is not None, "asynchronous sessions need a backend with distributed_lock"
        while not await_only(asyncio.to_thread(mutex.acquire, False)):  # waiting in threads could take all there are
            await_only(asyncio.sleep(POLL_SECONDS))
        try:
            found = self._region.get(key, expiration_time=seconds)
            if found is NO_VALUE:
                found = create()
                await_only(asyncio.to_thread(self._region.set, key, found))
        finally:
            await_only(asyncio.to_thread(mutex.release))
        return found

    # -- changing ------------------------------------------------------------------------------------------------

    def _after_begin(self, session: Session, *_: Any) -> None:
        if BEGUN not in session.info:
            session.info[BEGUN] = dict(zip(self._tables, self._generations(self._tables), strict=True))

    @staticmethod
    def _after_flush(session: Session, *_: Any) -> None:
        for instance in (*session.new, *session.dirty, *session.deleted):
            mapper = inspect(instance).mapper
            _changed(session).update(_tables_of(mapper))
            links = (relation.secondary for relation in mapper.relationships if relation.secondary is not None)
            _changed(session).update(link.fullname for link in links if isinstance(link, Table))

    def _after_commit(self, session: Session) -> None:
        if session.in_nested_transaction():
            return  # a savepoint: nothing is committed yet
        changed = session.info.pop(CHANGED, None)
        if not changed:
            return
        if session.get_bind().dialect.is_async:
            await_only(asyncio.to_thread(self._renew, changed))
        else:
            self._renew(changed)

    @staticmethod
    def _after_transaction_end(session: Session, transaction: SessionTransaction) -> None:
        if transaction.parent is None:
            session.info.pop(CHANGED, None)
            session.info.pop(BEGUN, None)

    def _renew(self, tables: set[str]) -> None:
        self._region.set_multi({f"generation:{table}": secrets.token_hex(8) for table in tables})


def _changed(session: Session) -> set[str]:
    """Tables that this session has changed and not committed."""
    changed: set[str] = session.info.setdefault(CHANGED, set())
    return changed


def _tables_of(mapper: Mapper[Any]) -> set[str]:
    return {table.fullname for table in mapper.tables if isinstance(table, Table)}
