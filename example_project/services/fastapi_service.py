"""A FastAPI service over the towns, for any number of worker processes.

Run `uvicorn services.fastapi_service:app --workers 4`. Results of `@cached` survive a restart,
visits are counted exactly across workers, and a slow answer is computed by one worker for all.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiocache import cached, cached_stampede
from fastapi import FastAPI, HTTPException

from ferrokv.contrib.aiocache import FerroKVCache

from . import database

CACHE: dict[str, Any] = {"cache": FerroKVCache, "path": database.STORE, "keyspace": "fastapi"}
visits = FerroKVCache(database.STORE, keyspace="fastapi", namespace="visits")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Closes at the end what the requests opened."""
    yield
    for cache in (visits, countries.cache, zones.cache):
        await cache.close()
    await database.engine.dispose()


app = FastAPI(title="Towns", lifespan=lifespan)


@cached(ttl=60, namespace="countries", key_builder=lambda function, *_: "all", **CACHE)
async def countries() -> list[str]:
    """All countries, at most a minute old, since nothing invalidates them."""
    return await database.countries()


@cached_stampede(lease=30, ttl=3600, namespace="zones", key="all", **CACHE)
async def zones() -> dict[str, Any]:
    """One worker computes it; the others wait and return the same."""
    return {"computed_at": time.time(), "computed_by": os.getpid(), "zones": await database.zones()}


@app.get("/countries")
async def show_countries() -> list[str]:
    return await countries()


@app.get("/countries/{iso}")
async def show_country(iso: str) -> dict[str, Any]:
    found = await database.country(iso.upper())  # two queries, cached until somebody changes a town
    if found is None:
        raise HTTPException(404, "no such country")
    return {"country": found, "visits": await visits.increment(iso.upper())}


@app.get("/towns/{number}")
async def show_town(number: int) -> dict[str, Any]:
    found = await database.town(number)
    if found is None:
        raise HTTPException(404, "no such town")
    return found


@app.put("/towns/{number}/people/{people}")
async def change_town(number: int, people: int) -> dict[str, bool]:
    if not await database.settle(number, people):
        raise HTTPException(404, "no such town")
    return {"changed": True}


@app.get("/zones")
async def show_zones() -> dict[str, Any]:
    found: dict[str, Any] = await zones()
    return {**found, "answered_by": os.getpid()}
