"""An aiohttp service over the towns: `python -m aiohttp.web -H 127.0.0.1 -P 8080 services.aiohttp_service:make_app`."""

from __future__ import annotations

from typing import Any

from aiocache import cached, multi_cached
from aiocache.lock import OptimisticLock, OptimisticLockError
from aiohttp import web

from ferrokv.contrib.aiocache import FerroKVCache

from . import database

CACHE: dict[str, Any] = {"cache": FerroKVCache, "path": database.STORE, "keyspace": "aiohttp"}
lists = FerroKVCache(database.STORE, keyspace="aiohttp", namespace="lists")
routes = web.RouteTableDef()


@cached(ttl=3600, namespace="zones", key="all", **CACHE)
async def zones() -> list[dict[str, Any]]:
    """The slow query."""
    return await database.zones()


@multi_cached("numbers", namespace="towns", ttl=3600, **CACHE)
async def towns(numbers: list[int]) -> dict[int, dict[str, Any]]:
    """Each town is cached separately, and only missing ones are queried."""
    return await database.towns(numbers)


@routes.get("/zones")
async def show_zones(request: web.Request) -> web.Response:
    return web.json_response(await zones())


@routes.get("/towns")
async def show_towns(request: web.Request) -> web.Response:
    found = await towns(numbers=[int(number) for number in request.query.get("ids", "").split(",") if number])
    return web.json_response({str(number): town for number, town in found.items()})


@routes.get("/lists/{name}")
async def show_list(request: web.Request) -> web.Response:
    return web.json_response(await lists.get(request.match_info["name"], default=[]))


@routes.post("/lists/{name}/{number}")
async def add_to_list(request: web.Request) -> web.Response:
    """Read, change and write a list. If another process wrote it meanwhile, try again."""
    name, number = request.match_info["name"], int(request.match_info["number"])
    await _begin(name)
    while True:
        async with OptimisticLock(lists, name) as lock:
            chosen = await lists.get(name)
            if number in chosen:
                return web.json_response(chosen)
            try:
                await lock.cas([*chosen, number])
            except OptimisticLockError:
                continue
            return web.json_response([*chosen, number])


async def _begin(name: str) -> None:
    try:
        await lists.add(name, [])
    except ValueError:  # somebody else has created it
        return


async def _close(app: web.Application) -> None:
    for cache in (lists, zones.cache, towns.cache):
        await cache.close()
    await database.engine.dispose()


def make_app(arguments: list[str] | None = None) -> web.Application:
    """Create the application.

    `arguments` are those that `python -m aiohttp.web` does not use itself.
    """
    app = web.Application()
    app.add_routes(routes)
    app.on_cleanup.append(_close)
    return app
