"""The queries of both services: the example site's database through SQLAlchemy.

Queries are cached in the example site's store.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from dogpile.cache import make_region
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, joinedload

from .models import Base, Country, Town
from .query_cache import FromCache, QueryCache

VAR = Path(os.environ.get("ATLAS_VAR", Path(__file__).resolve().parent.parent / "var"))
# The directory of the Django site's cache. Keyspaces are independent, and one engine per process
# serves all of them.
STORE = VAR / "store"


class CachedSession(Session):
    """A session whose queries may be answered from the cache."""


region = make_region().configure(
    "ferrokv", expiration_time=600, arguments={"path": STORE, "keyspace": "queries", "max_bytes": 16 << 20}
)
QueryCache(region, Base.metadata).listen(CachedSession)
engine = create_async_engine(f"sqlite+aiosqlite:///{VAR / 'places.sqlite3'}")
sessions = async_sessionmaker(engine, sync_session_class=CachedSession)


async def countries() -> list[str]:
    """The names of all countries."""
    async with sessions() as session:
        return list((await session.scalars(select(Country.name).order_by(Country.name))).all())


async def country(iso: str) -> dict[str, Any] | None:
    """A country with its ten largest towns, or None.

    Both queries are cached until a town changes.
    """
    async with sessions() as session:
        found = await session.scalar(select(Country).where(Country.iso == iso).options(FromCache()))
        if found is None:
            return None
        largest = select(Town).where(Town.country_id == iso).order_by(Town.population.desc()).limit(10)
        towns = (await session.scalars(largest.options(FromCache()))).all()
    return {
        "name": found.name,
        "largest": [{"id": town.id, "name": town.name, "people": town.population} for town in towns],
    }


async def town(number: int) -> dict[str, Any] | None:
    """A town, or None."""
    async with sessions() as session:
        one = select(Town).where(Town.id == number).options(joinedload(Town.country))
        found = await session.scalar(one.options(FromCache()))
    if found is None:
        return None
    return {"id": found.id, "name": found.name, "country": found.country.name, "people": found.population}


async def towns(numbers: list[int]) -> dict[int, dict[str, Any]]:
    """The towns that exist, by number."""
    async with sessions() as session:
        found = await session.scalars(select(Town).where(Town.id.in_(numbers)))
        return {town.id: {"name": town.name, "people": town.population} for town in found}


async def settle(number: int, people: int) -> bool:
    """Set a town's population, and invalidate cached queries. False if there is no such town."""
    async with sessions() as session:
        found = await session.get(Town, number)
        if found is None:
            return False
        found.population = people
        await session.commit()
        return True


async def zones() -> list[dict[str, Any]]:
    """Time zones with their towns and population. Scans the whole table."""
    count, people = func.count(), func.sum(Town.population)
    async with sessions() as session:
        rows = await session.execute(
            select(Town.timezone, count, people).group_by(Town.timezone).order_by(people.desc())
        )
        return [{"zone": zone, "towns": number, "people": total} for zone, number, total in rows.fetchmany(40)]
