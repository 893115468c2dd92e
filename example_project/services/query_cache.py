"""Caches ORM queries in a dogpile region, and invalidates them when a session changes their tables.

Each table has a generation, a random token in the region. The key of a cached answer contains the
generations of all tables it was made from. Committing a change to a table gives it a new
generation, which puts every older answer out of reach at once, in every process, without a list of
them. `do_orm_execute` and frozen results are used as in SQLAlchemy's dogpile example.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from dogpile.cache import CacheRegion
from dogpile.cache.api import NO_VALUE
from sqlalchemy import MetaData, Select, Table, event, inspect
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Mapper, ORMExecuteState, Session, SessionTransaction
from sqlalchemy.orm.interfaces import UserDefinedOption
from sqlalchemy.orm.loading import merge_frozen_result
from sqlalchemy.sql import visitors
from sqlalchemy.sql.compiler import SQLCompiler

from .waiting import acquire_later, in_thread

logger = logging.getLogger(__name__)

CHANGED = "query_cache_changed"
BEGUN = "query_cache_begun"
APART = "query_cache_apart"
PLAIN = {bool, int, float, str, bytes, Decimal, date, datetime, time, timedelta, UUID}


class FromCache(UserDefinedOption):
    """`select(Town).options(FromCache())`: the answer may come from the cache.

    `also` names classes whose tables are read by additional statements, as for `selectinload`.
    `name` distinguishes statements with the same SQL but different loader options. `seconds`
    overrides the region's expiration time.
    """

    propagate_to_loaders = False

    def __init__(self, name: str = "", *, also: Iterable[type] = (), seconds: float | None = None) -> None:
        super().__init__()
        self.name = name
        self.also = tuple(also)
        self.seconds = seconds


class Begun:
    """A transaction of a session, with the generations as of before its first statement.

    Its view of the database may be as old as they are.
    """

    def __init__(self, generations: dict[str, str], is_async: bool) -> None:
        self.generations = generations
        self.is_async = is_async


class QueryCache:
    """Serves the sessions that it listens to.

    Call `listen(Session)`; for async engines, `listen` on their `sync_session_class`. A session
    with uncommitted changes bypasses the cache. Changes that bypass the unit of work are not
    noticed: Core SQL, the legacy `bulk_*` methods, and commits of a transaction that a session
    merely joined. Call `forget` for their tables after the commit. If a process dies between its
    commit and the new generation, old answers remain until they expire.
    """

    def __init__(self, region: CacheRegion, metadata: MetaData) -> None:
        self._region = region
        self._tables = sorted(table.fullname for table in metadata.tables.values())

    def listen(self, sessions: type[Session]) -> None:
        """Serve every session of this class."""
        event.listen(sessions, "do_orm_execute", self._execute)
        event.listen(sessions, "after_flush", self._after_flush)
        event.listen(sessions, "after_begin", self._after_begin)
        event.listen(sessions, "after_commit", self._after_commit)
        event.listen(sessions, "after_transaction_end", self._after_transaction_end)

    def forget(self, *classes: type) -> None:
        """Invalidate every cached answer made from the tables of these classes."""
        self._renew({table for kind in classes for table in _tables_of(inspect(kind))})

    # -- reading -------------------------------------------------------------------------------------------------

    def _execute(self, state: ORMExecuteState) -> Any:
        session, statement = state.session, state.statement
        if state.is_insert or state.is_update or state.is_delete:
            if state.bind_mapper is not None:
                _changed(session).update(_tables_of(state.bind_mapper))
            return None
        option = next((found for found in state.user_defined_options if isinstance(found, FromCache)), None)
        if option is None or not isinstance(statement, Select) or state.execution_options.get("yield_per"):
            return None
        if statement._for_update_arg is not None:
            return None
        if session.new or session.dirty or session.deleted or session.info.get(CHANGED):
            return None  # it sees its own changes, which nobody else may
        bind = session.get_bind(**state.bind_arguments)
        if APART in session.info or isinstance(bind, Connection):
            return None  # its transaction may have an older view of the database than this session knows of
        engine = bind.engine
        compiled = statement.compile(dialect=engine.dialect)
        assert isinstance(compiled, SQLCompiler)
        tables = {found.fullname for found in visitors.iterate(_complete(compiled)) if isinstance(found, Table)}
        tables |= {table for kind in option.also for table in _tables_of(inspect(kind))}
        values = sorted(compiled.construct_params(_parameters(state)).items())
        if not tables or not _is_plain([value for _, value in values]):
            return None
        shape = [str(column["expr"]) for column in statement.column_descriptions]
        parts = (
            option.name,
            self._generations(session, sorted(tables)),
            (engine.url.render_as_string(), state.execution_options.get("schema_translate_map")),
            (str(compiled), values, shape),
        )

        def ask() -> Any:
            return _ask_apart(state, session.connection(bind_arguments=state.bind_arguments))

        create = self._create_later if engine.dialect.is_async else self._create
        frozen = create(f"query:{parts!r}", ask, option.seconds)
        return merge_frozen_result(session, statement, frozen, load=False)()

    def _generations(self, session: Session, tables: list[str]) -> list[str]:
        begun: Begun | None = session.info.get(BEGUN)
        if begun is not None and all(table in begun.generations for table in tables):
            return [begun.generations[table] for table in tables]
        return self._read_generations(tables)

    def _read_generations(self, tables: list[str]) -> list[str]:
        found = self._region.get_multi([f"generation:{table}" for table in tables], ignore_expiration=True)
        return ["" if generation is NO_VALUE else generation for generation in found]

    def _create(self, key: str, create: Callable[[], Any], seconds: float | None) -> Any:
        return self._region.get_or_create(key, create, expiration_time=seconds)

    def _create_later(self, key: str, create: Callable[[], Any], seconds: float | None) -> Any:
        """`get_or_create` for an event loop, which must not block on the mutex or the disk."""
        found = self._region.get(key, expiration_time=seconds)
        if found is not NO_VALUE:
            return found
        mutex = self._region.backend.get_mutex(key)
        assert mutex is not None, "asynchronous sessions need a backend with distributed_lock"
        acquire_later(mutex)
        try:
            found = self._region.get(key, expiration_time=seconds)
            if found is NO_VALUE:
                found = create()
                in_thread(self._region.set, key, found)
        finally:
            in_thread(mutex.release)
        return found

    # -- changing ------------------------------------------------------------------------------------------------

    def _after_begin(self, session: Session, transaction: SessionTransaction, connection: Connection) -> None:
        if BEGUN not in session.info:
            generations = dict(zip(self._tables, self._read_generations(self._tables), strict=True))
            session.info[BEGUN] = Begun(generations, connection.dialect.is_async)

    @staticmethod
    def _after_flush(session: Session, context: Any) -> None:
        for instance, (is_deleted, is_only_listed) in context.states.items():
            if is_only_listed and not is_deleted:
                continue
            mapper = instance.mapper
            _changed(session).update(_tables_of(mapper))
            links = (relation.secondary for relation in mapper.relationships if relation.secondary is not None)
            _changed(session).update(link.fullname for link in links if isinstance(link, Table))

    def _after_commit(self, session: Session) -> None:
        if session.in_nested_transaction():
            return  # a savepoint: nothing is committed yet
        changed, begun = session.info.pop(CHANGED, None), session.info.get(BEGUN)
        if not changed:
            return
        try:
            if begun is not None and begun.is_async:
                in_thread(self._renew, changed)
            else:
                self._renew(changed)
        except Exception:  # from the region's backend: the database has committed, so this must not look like a failure
            logger.exception("cached answers remain until they expire: tables=%s", sorted(changed))

    @staticmethod
    def _after_transaction_end(session: Session, transaction: SessionTransaction) -> None:
        if transaction.parent is None:
            session.info.pop(CHANGED, None)
            session.info.pop(BEGUN, None)

    def _renew(self, tables: set[str]) -> None:
        self._region.set_multi({f"generation:{table}": secrets.token_hex(8) for table in tables})


def _ask_apart(state: ORMExecuteState, connection: Connection) -> Any:
    """Query the database in a separate session on the same connection, and freeze the result.

    So it contains nothing else that this session has loaded.
    """
    with Session(connection, join_transaction_mode="rollback_only", info={APART: True}) as apart:
        result = apart.execute(state.statement, state.parameters, execution_options=state.execution_options)
        return result.freeze()


def _is_plain(value: Any) -> bool:
    """True for a value whose text distinguishes it from all others."""
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or type(value) in PLAIN or isinstance(value, Enum)


def _complete(compiled: SQLCompiler) -> Any:
    """Return the statement with the joins of relationships and eager loads, and all criteria."""
    return getattr(compiled.compile_state, "statement", compiled.statement)


def _parameters(state: ORMExecuteState) -> dict[str, Any]:
    return dict(state.parameters) if isinstance(state.parameters, dict) else {}


def _changed(session: Session) -> set[str]:
    """The tables that this session has changed but not committed."""
    changed: set[str] = session.info.setdefault(CHANGED, set())
    return changed


def _tables_of(mapper: Mapper[Any]) -> set[str]:
    return {table.fullname for table in mapper.tables if isinstance(table, Table)}
