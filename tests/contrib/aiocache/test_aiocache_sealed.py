"""aiocache values that are sealed: what a forger of files cannot do."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from ferrokv import BlockingFerroKV
from ferrokv.contrib.aiocache import FerroKVCache, SealedSerializer


class Bomb:
    """Unpickling this is an attack that succeeded."""

    def __reduce__(self) -> tuple[object, ...]:
        return (pytest.fail, ("unpickled without a valid seal",))


def cache_on(path: Path, *keys: str, **options: object) -> FerroKVCache:
    return FerroKVCache(path, serializer=SealedSerializer(*keys, **options))  # type: ignore[arg-type]


async def test_values_come_back_and_a_forged_one_is_a_miss(store_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    value = {"a": (1, {2, 3}), "b": b"\0"}
    async with cache_on(store_path, "secret") as cache:
        await cache.set("k", value, ttl=100)
        assert await cache.get("k") == value
        assert await cache.multi_get(["k", "missing"]) == [value, None]
        with BlockingFerroKV.open(store_path, keyspace="aiocache") as db:
            stored = db.get("k")
            assert stored is not None
            db.set("plain", pickle.dumps(Bomb()))
            db.set("sealed otherwise", SealedSerializer("another").dumps(Bomb()))
            db.set("changed", stored[:-1] + b"?")
        for name in ("plain", "sealed otherwise", "changed"):
            assert await cache.get(name) is None
        assert "no valid seal" in caplog.text


async def test_integers_count_and_a_replaced_key_still_reads(store_path: Path) -> None:
    async with cache_on(store_path, "old") as cache:
        await cache.set("n", 41)
        assert await cache.increment("n") == 42
        await cache.set("k", ["v"])
    async with cache_on(store_path, "new", "old", compressor="zlib") as cache:
        assert await cache.get("k") == ["v"]
        await cache.set("long", "x" * 10_000)
        assert await cache.get("long") == "x" * 10_000
        assert await cache.get("n") == 42
    async with cache_on(store_path, "new") as cache:
        assert await cache.get("k") is None


def test_an_empty_key_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a secret key"):
        SealedSerializer("")
