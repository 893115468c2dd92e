"""Libraries that set the time in tests: keys, stale values and locks follow them, by one rule (docs/testing.md)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ferrokv import BlockingFerroKV, FerroKV

from ..support.django_setup import configured

START = 1_700_000_000
Shift = Callable[[float], None]
"""Moves the time ahead, in seconds"""


@contextmanager
def frozen() -> Iterator[Shift]:
    freezegun = pytest.importorskip("freezegun")
    from datetime import UTC, datetime

    with freezegun.freeze_time(datetime.fromtimestamp(START, UTC)) as moved:
        yield moved.tick


@contextmanager
def travelled() -> Iterator[Shift]:
    time_machine = pytest.importorskip("time_machine")
    with time_machine.travel(START, tick=False) as traveller:
        yield traveller.shift


LIBRARIES = pytest.mark.parametrize("stopped", [frozen, travelled])


@LIBRARIES
def test_keys_expire_by_the_time_of_the_test(store_path: Path, stopped: Any) -> None:
    with BlockingFerroKV.open(store_path) as db, stopped() as shift:
        db.set("short", 1, ex=60)
        db.set("long", 1, ex=3600)
        assert db.pttl("short") == 60_000
        shift(59)
        assert db.pttl("short") == 1_000
        shift(1)
        assert db.get("short") is None
        assert [key for key, _ in db.scan()] == [b"long"]
        assert db.incr("short") == 1
        assert db.expiretime("long") == START + 3600


@LIBRARIES
def test_a_lock_ends_by_the_time_of_the_test(store_path: Path, stopped: Any) -> None:
    with BlockingFerroKV.open(store_path) as db, stopped() as shift:
        assert db.lock("job", timeout=60).acquire(blocking=False)
        shift(59)
        assert not db.lock("job", timeout=60).acquire(blocking=False)
        shift(1)
        assert db.lock("job", timeout=60).acquire(blocking=False)


@LIBRARIES
def test_stale_values_of_the_django_cache_do(store_path: Path, stopped: Any) -> None:
    with configured(store_path) as cache, stopped() as shift:
        assert cache.get_or_set("report", lambda: "old", 300, stale_ttl=3600) == "old"
        shift(299)
        assert cache.get("report") == "old"
        shift(1)
        assert cache.get("report") is None
        assert cache.ttl("report") == 0
        assert cache.get_or_set("report", lambda: "new", 300, stale_ttl=3600) == "new"


@LIBRARIES
def test_nothing_leaves_the_disk_because_a_test_sets_the_time(store_path: Path, stopped: Any) -> None:
    with BlockingFerroKV.open(store_path) as db:
        db.set("key", 1, ex=3600)
        with stopped() as shift:
            shift(10 * 365 * 86_400)
            assert db.get("key") is None
            db.flush()
            db.compact()
        assert db.get("key") == b"1"


@LIBRARIES
async def test_the_asyncio_face_does_the_same(store_path: Path, stopped: Any) -> None:
    """Freezegun stops the loop's clock as well, unless told; nothing here waits for it."""
    async with await FerroKV.open(store_path) as db:
        with stopped() as shift:
            await db.set("key", 1, ex=60)
            assert await db.get("key") == b"1"
            shift(60)
            assert await db.get("key") is None
    await asyncio.sleep(0)
