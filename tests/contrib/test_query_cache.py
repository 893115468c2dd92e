"""The example's cache for SQLAlchemy queries, on synchronous and asynchronous engines, over the example's data."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiosqlite
import pytest
from dogpile.cache import make_region
from sqlalchemy import Engine, Integer, bindparam, create_engine, event, func, select, update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session, joinedload, selectinload
from sqlalchemy.pool import AsyncAdaptedQueuePool

from ferrokv import StoreFull

from ..support.site import SITE

sys.path.insert(0, str(SITE))
from services.models import Base, Country, Town
from services.query_cache import FromCache, QueryCache


def towns() -> list[Any]:
    blank = {"continent": "EU", "area_km2": 1, "population": 1, "currency": "", "languages": "", "capital": ""}
    place = {"region": "", "latitude": 0.0, "longitude": 0.0, "timezone": "Europe/Paris"}
    france = Country(iso="FR", name="France", **blank)
    spain = Country(iso="ES", name="Spain", **blank)
    rows = [("Paris", france, 2_000_000), ("Lyon", france, 500_000), ("Madrid", spain, 3_000_000)]
    return [Town(name=name, country=country, population=people, **place) for name, country, people in rows]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = create_engine(f"sqlite:///{tmp_path}/towns.sqlite3")
    Base.metadata.create_all(made)
    with Session(made) as session:
        session.add_all(towns())
        session.commit()
    yield made
    made.dispose()


@pytest.fixture
def cache(store_path: Path) -> QueryCache:
    region = make_region().configure("ferrokv", expiration_time=300, arguments={"path": store_path})
    return QueryCache(region, Base.metadata)


@pytest.fixture
def sessions(cache: QueryCache) -> type[Session]:
    made = type("CachedSession", (Session,), {})
    cache.listen(made)
    return made


@pytest.fixture
def asked(engine: Engine) -> list[str]:
    """Every statement that reaches the database."""
    return note_statements(engine)


def note_statements(engine: Engine) -> list[str]:
    seen: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *more: Any) -> None:
        seen.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    return seen


def largest(iso: str) -> Any:
    return select(Town).where(Town.country_id == iso).order_by(Town.population.desc()).options(FromCache())


TOTAL = select(func.sum(Town.population)).options(FromCache())
COUNTRIES = select(Country).order_by(Country.iso).options(FromCache())


def names(session: Session, iso: str = "FR") -> list[str]:
    return [town.name for town in session.scalars(largest(iso))]


def test_an_answer_comes_from_the_database_once(sessions: Any, engine: Engine, asked: list[str]) -> None:
    for _ in range(3):
        with sessions(engine) as session:
            assert names(session) == ["Paris", "Lyon"]
            assert names(session, "ES") == ["Madrid"]
            assert session.scalar(TOTAL) == 5_500_000
    assert len(asked) == 3


def test_a_commit_ends_what_is_made_from_its_tables(sessions: Any, engine: Engine, asked: list[str]) -> None:
    with sessions(engine) as session:
        names(session)
        session.scalars(COUNTRIES).all()
    with sessions(engine) as session:
        session.get(Town, 2).population = 9_000_000
        session.commit()
    asked.clear()
    with sessions(engine) as session:
        assert names(session) == ["Lyon", "Paris"]
        assert [country.iso for country in session.scalars(COUNTRIES)] == ["ES", "FR"]
    assert len(asked) == 1, "the countries were not changed"
    for change in (
        lambda session: session.add(towns()[0]) or session.query(Country).delete(),
        lambda session: session.execute(update(Town).where(Town.id == 1).values(population=0)),
        lambda session: session.delete(session.get(Town, 3)),
    ):
        with sessions(engine) as session:
            session.scalar(TOTAL)
        with sessions(engine) as session, session.no_autoflush:
            change(session)
            session.rollback()
        asked.clear()
        with sessions(engine) as session:
            session.scalar(TOTAL)
        assert asked == [], "nothing was committed"
    with sessions(engine) as session:
        session.execute(update(Town).where(Town.id == 1).values(population=0))
        session.commit()
    with sessions(engine) as session:
        assert session.scalar(TOTAL) == 12_000_000


def test_a_session_sees_its_own_changes_and_keeps_them_to_itself(sessions: Any, engine: Engine) -> None:
    with sessions(engine) as session:
        assert session.scalar(TOTAL) == 5_500_000
    with sessions(engine) as writer:
        writer.get(Town, 1).population = 0
        assert writer.scalar(TOTAL) == 3_500_000
        with sessions(engine) as reader:
            assert reader.scalar(TOTAL) == 5_500_000
        with writer.begin_nested():
            writer.get(Town, 2).population = 0
        assert writer.scalar(TOTAL) == 3_000_000
        with sessions(engine) as reader:
            assert reader.scalar(TOTAL) == 5_500_000, "a savepoint commits nothing"
        writer.commit()
    with sessions(engine) as session:
        assert session.scalar(TOTAL) == 3_000_000


def test_a_transaction_that_began_before_a_change_caches_nothing_new(
    sessions: Any, engine: Engine, cache: QueryCache
) -> None:
    """Its view of the database may be older than what others have committed meanwhile."""
    with sessions(engine) as old:
        old.scalars(select(Country.iso)).all()
        with sessions(engine) as writer:
            writer.get(Town, 1).population = 0
            writer.commit()
        connection = old.connection()
        asked: list[str] = []
        event.listen(connection, "before_cursor_execute", lambda *args: asked.append(args[2]))
        old.scalar(TOTAL)
        assert len(asked) == 1
    with sessions(engine) as session:
        asked = note_statements(engine)
        assert session.scalar(TOTAL) == 3_500_000
        assert len(asked) == 1, "the answer of the older transaction is not given to others"


def test_relationships_and_names(sessions: Any, engine: Engine, asked: list[str]) -> None:
    with_towns = (
        select(Country).order_by(Country.iso).options(selectinload(Country.towns), FromCache("with towns", also=[Town]))
    )

    def counts() -> list[int]:
        with sessions(engine) as session:
            found = session.scalars(with_towns).all()
        return [len(country.towns) for country in found]

    assert [counts(), counts()] == [[1, 2], [1, 2]]
    assert len(asked) == 2
    with sessions(engine) as session:
        session.delete(session.get(Town, 1))
        session.commit()
    assert counts() == [1, 1]
    with sessions(engine) as session:
        session.scalars(COUNTRIES).all()


def town_names(session: Session, statement: Any, **parameters: Any) -> list[str]:
    return list(session.scalars(statement.options(FromCache()), parameters))


def test_every_way_to_give_parameters_is_part_of_the_key(sessions: Any, engine: Engine) -> None:
    by_number = select(Town.name).where(Town.id == bindparam("number"))
    for _ in range(2):
        with sessions(engine) as session:
            assert [town_names(session, by_number, number=i) for i in (1, 3)] == [["Paris"], ["Madrid"]]
            assert [town_names(session, by_number.params(number=i)) for i in (1, 3)] == [["Paris"], ["Madrid"]]
            countries = [session.get(Country, iso) for iso in ("FR", "ES")]
            of_country = [select(Town.name).where(Town.country == country).order_by(Town.id) for country in countries]
            assert [town_names(session, one) for one in of_country] == [["Paris", "Lyon"], ["Madrid"]]
            called = [
                select(Town.name).where(Town.id == bindparam(None, callable_=lambda i=i: i, type_=Integer))
                for i in (1, 3)
            ]
            assert [town_names(session, one) for one in called] == [["Paris"], ["Madrid"]]
            within = [select(Town.name).where(Town.id.in_(numbers)).order_by(Town.id) for numbers in ([1], [1, 2])]
            assert [town_names(session, one) for one in within] == [["Paris"], ["Paris", "Lyon"]]


def test_entities_and_columns_with_the_same_sql_are_told_apart(sessions: Any, engine: Engine) -> None:
    columns = select(*Country.__table__.columns).order_by(Country.iso).options(FromCache())
    for _ in range(2):
        with sessions(engine) as session:
            assert [type(row[0]) for row in session.execute(COUNTRIES)] == [Country, Country]
            assert [row[0] for row in session.execute(columns)] == ["ES", "FR"]


def test_tables_that_are_only_joined_count(sessions: Any, engine: Engine) -> None:
    joined = select(Country.iso, func.count()).join(Country.towns).group_by(Country.iso).order_by(Country.iso)
    eager = select(Country).order_by(Country.iso).options(joinedload(Country.towns), FromCache())

    def ask() -> tuple[list[Any], list[int]]:
        with sessions(engine) as session:
            counts = [tuple(row) for row in session.execute(joined.options(FromCache()))]
            return counts, [len(country.towns) for country in session.scalars(eager).unique()]

    assert ask() == ask() == ([("ES", 1), ("FR", 2)], [1, 2])
    with sessions(engine) as session:
        session.delete(session.get(Town, 1))
        session.commit()
    assert ask() == ([("ES", 1), ("FR", 1)], [1, 1])


def test_what_a_session_has_loaded_does_not_ride_along(sessions: Any, engine: Engine) -> None:
    with sessions(engine, expire_on_commit=False) as old:
        kept = old.get(Town, 1)
        old.commit()
        with sessions(engine) as writer:
            writer.get(Town, 1).population = 7
            writer.commit()
        assert old.scalars(largest("FR")).all()[1] is kept
        assert kept.population == 7
    with sessions(engine) as session:
        assert [town.population for town in session.scalars(largest("FR"))] == [500_000, 7]
    with sessions(engine) as session:
        france = session.get(Country, "FR")
        assert len(france.towns) == 2
        session.scalars(COUNTRIES).all()
    with sessions(engine) as session:
        session.delete(session.get(Town, 1))
        session.commit()
    with sessions(engine) as session:
        assert [len(country.towns) for country in session.scalars(COUNTRIES)] == [1, 1]


def test_a_hit_keeps_its_hands_off_changes(sessions: Any, engine: Engine) -> None:
    with sessions(engine) as session:
        session.scalars(largest("FR")).all()
    for flush in (False, True):
        with sessions(engine, autoflush=False) as session:
            town = session.get(Town, 1)
            town.population = 77
            if flush:
                session.flush()
            session.scalars(largest("FR")).all()
            session.scalars(COUNTRIES).all()
            assert town.population == 77
            session.commit()
        with Session(engine) as plain:
            assert plain.get(Town, 1).population == 77  # type: ignore[union-attr]
        with sessions(engine) as session:
            session.get(Town, 1).population = 2_000_000
            session.commit()
            session.scalars(largest("FR")).all()


def test_databases_do_not_share_answers(sessions: Any, engine: Engine, tmp_path: Path) -> None:
    other = create_engine(f"sqlite:///{tmp_path}/other.sqlite3")
    Base.metadata.create_all(other)
    with sessions(engine) as session:
        assert session.scalar(TOTAL) == 5_500_000
    with sessions(other) as session:
        assert session.scalar(TOTAL) is None
    with sessions(binds={Base: other}) as session:
        assert session.scalar(TOTAL) is None
        session.add(towns()[0])
        session.commit()
        assert session.scalar(TOTAL) == 2_500_000, "with its country come all of its towns"
    other.dispose()


def test_a_store_that_fails_does_not_make_a_commit_look_failed(
    sessions: Any, engine: Engine, cache: QueryCache, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*args: Any) -> None:
        raise StoreFull("no room")

    with sessions(engine) as session:
        session.get(Town, 1).population = 7
        monkeypatch.setattr(cache._region, "set_multi", fail)
        session.commit()
        assert "until they expire" in caplog.text
        session.get(Town, 2).population = 7
        session.commit()


def test_changes_that_pass_by_the_orm_are_forgotten_by_hand(sessions: Any, engine: Engine, cache: QueryCache) -> None:
    with sessions(engine) as session:
        assert session.scalar(TOTAL) == 5_500_000
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE places_town SET population = 0")
    with sessions(engine) as session:
        assert session.scalar(TOTAL) == 5_500_000
    cache.forget(Town)
    with sessions(engine) as session:
        assert session.scalar(TOTAL) == 0


@pytest.fixture
async def aengine(engine: Engine, tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    path = tmp_path / "towns.sqlite3"
    opened: list[sqlite3.Connection] = []

    def connect() -> sqlite3.Connection:
        opened.append(sqlite3.connect(path, check_same_thread=False))
        return opened[-1]

    async def create() -> aiosqlite.Connection:
        return await aiosqlite.Connection(connect, iter_chunk_size=64)

    made = create_async_engine("sqlite+aiosqlite://", async_creator=create, poolclass=AsyncAdaptedQueuePool)
    yield made
    await made.dispose()
    for connection in opened:
        connection.close()  # aiosqlite forgets one whose opening was cancelled, and Python would warn in another test


async def test_asynchronous_sessions(sessions: Any, aengine: AsyncEngine, engine: Engine) -> None:
    asked = note_statements(aengine.sync_engine)

    async def total() -> int:
        async with AsyncSession(aengine, sync_session_class=sessions) as session:
            return int(await session.scalar(TOTAL))

    assert await asyncio.gather(*(total() for _ in range(8))) == [5_500_000] * 8
    assert len(asked) == 1, "the tasks of a loop wait for one another without standing in its way"
    async with AsyncSession(aengine, sync_session_class=sessions) as session:
        town = await session.get(Town, 1)
        town.population = 0
        await session.commit()
    assert await total() == 3_500_000
    with sessions(engine) as session:
        assert session.scalar(TOTAL) == 3_500_000, "one cache for both kinds"
        session.get(Town, 2).population = 0
        session.commit()
    assert await total() == 3_000_000


async def test_cancelled_queries_leave_no_mutex_behind(sessions: Any, aengine: AsyncEngine) -> None:
    async def count(number: int) -> int:
        statement = select(func.count()).select_from(Town).where(Town.id < number).options(FromCache())
        async with AsyncSession(aengine, sync_session_class=sessions) as session:
            return int(await session.scalar(statement))

    for i in range(60):
        task = asyncio.create_task(count(i))
        await asyncio.sleep(i * 0.0001)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    async with asyncio.timeout(20):
        assert [await count(i) for i in range(60)] == [min(max(i - 1, 0), 3) for i in range(60)]


async def test_a_cancelled_commit_invalidates_all_the_same(
    sessions: Any, aengine: AsyncEngine, cache: QueryCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    renew, reached, go, renewed = cache._renew, threading.Event(), threading.Event(), threading.Event()

    def slowly(tables: set[str]) -> None:
        reached.set()
        go.wait(30)
        renew(tables)
        renewed.set()

    monkeypatch.setattr(cache, "_renew", slowly)

    async def change() -> None:
        async with AsyncSession(aengine, sync_session_class=sessions) as session:
            (await session.get(Town, 1)).population = 7
            await session.commit()

    async with AsyncSession(aengine, sync_session_class=sessions) as session:
        await session.scalar(TOTAL)
    task = asyncio.create_task(change())
    assert await asyncio.to_thread(reached.wait, 30)
    task.cancel()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(renewed.wait, 30)
    async with AsyncSession(aengine, sync_session_class=sessions) as session:
        assert await session.scalar(TOTAL) == 3_500_007
