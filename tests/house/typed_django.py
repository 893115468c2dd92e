"""A Django program as its author writes it under `mypy --strict`; tests/house/test_typing.py checks it, nobody runs it."""

from __future__ import annotations

from typing import assert_type

from ferrokv.contrib.django import FerroKVCache, cache


def report(number: int) -> dict[str, int]:
    return {"number": number}


def view() -> None:
    assert_type(cache, FerroKVCache)
    cache.set("k", report(1), 300, tags=["reports"])
    cache.get_or_set("k", lambda: report(2), 300, tags=["reports"], stale_ttl=60)
    cache.delete_tag("reports")
    assert_type(cache.incr("n"), int)
    assert_type(cache.pttl("k"), int | None)
    assert_type(cache.set("k", 1, nx=True), bool | None)
    with cache.pipelined():
        cache.set_many({"a": 1, "b": 2})
    with cache.lock("job", timeout=10):
        cache.touch("k", 60)


async def asynchronous_view() -> None:
    await cache.aset("k", 1, tags=["reports"])
    await cache.adelete_tag("reports")
    assert_type(await cache.aincr("n"), int)
    async with cache.pipelined():
        await cache.aset_many({"a": 1})
