"""A program as its author writes it under `mypy --strict`; tests/house/test_typing.py checks it, nobody runs it."""

from __future__ import annotations

from typing import assert_type

from ferrokv import BlockingFerroKV, Capability, FerroKV, WriteBatch, connect, connect_blocking


def with_threads() -> None:
    with BlockingFerroKV.open("store", memtable_bytes=1 << 20, busy_timeout=1.5) as db:
        assert_type(db.get("k"), bytes | None)
        assert_type(db.mget("a", "b"), list[bytes | None])
        assert_type(db.set("k", "v"), bool | None)
        assert_type(db.set("k", "v", ex=5, get=True), bytes | None)
        assert_type(db.incr("n"), int)
        assert_type(db.decrby("n", 2, xx=True), int | None)
        assert_type(db.lpop("l"), bytes | None)
        assert_type(db.lpop("l", 2), list[bytes] | None)
        assert_type(db.lpos("l", "v"), int | None)
        assert_type(db.lpos("l", "v", count=0), list[int])
        assert_type(db.spop("s"), bytes | None)
        assert_type(db.spop("s", 3), list[bytes])
        assert_type(db.srandmember("s", 3), list[bytes])
        assert_type(db.hgetall("h"), dict[bytes, bytes])
        assert_type(db.hrandfield("h", 2, withvalues=True), list[bytes])
        assert_type(db.zadd("z", {"m": 1}), int)
        assert_type(db.zadd("z", {"m": 1}, incr=True), float | None)
        assert_type(db.zrank("z", "m"), int | None)
        assert_type(db.zrank("z", "m", withscore=True), list[int | float] | None)
        assert_type(db.zrange("z", 0, -1), list[bytes])
        assert_type(db.zrange("z", 0, -1, withscores=True), list[tuple[bytes, float]])
        assert_type(db.zrange("z", 0, -1, withscores=True, score_cast_func=int), list[tuple[bytes, int]])
        assert_type(db.zdiff(["a", "b"]), list[bytes])
        assert_type(db.zdiff(["a", "b"], withscores=True), list[tuple[bytes, float]])
        assert_type(db.transaction(lambda tx: tx.incr("n")), int)


async def with_asyncio() -> None:
    async with FerroKV.open("store", level0_tables=4) as db:
        assert_type(await db.get("k"), bytes | None)
        assert_type(await db.incr("n", 5), int)
        assert_type(await db.set("k", b"v", get=True), bytes | None)
        assert_type(await db.rpop("l", 2), list[bytes] | None)
        assert_type(await db.zrevrangebyscore("z", 9, 1, withscores=True), list[tuple[bytes, float]])
        async for key in db.scan_iter():
            assert_type(key, bytes)


def on_any_backend(location: str) -> int | None:
    """What `connect_blocking` returns has every command, whichever backend it is."""
    with connect_blocking(location, keyspace="k", max_bytes=1 << 20, busy_timeout=1.0) as db:
        db.lpush("l", "a")
        found: list[bytes] = db.lrange("l", 0, -1)
        scored: list[tuple[bytes, float]] = db.zrange("z", 0, -1, withscores=True)
        counted: int = db.transaction(lambda tx: tx.incr("n"))
        db.pipeline().set("a", 1).execute()
        if Capability.SNAPSHOTS in db.capabilities:
            db.snapshot().close()
        within = db.within(db.deferral())
        within.write(WriteBatch().set("a", 1))
        print(found, scored, counted, db.stats().wal_bytes)
        return db.incr("n", xx=True)


async def on_any_backend_later(location: str) -> bytes | None:
    """As `on_any_backend`, for asyncio."""
    async with connect(location) as db, FerroKV("data") as other:
        await other.ready()
        await db.set("a", 1)
        async for name in db.scan_iter("a*"):
            print(name)
        async with db.lock("l"):
            return await db.get("a")
