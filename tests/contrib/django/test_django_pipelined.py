"""One sync for a block or a request."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches
from django.test import AsyncClient, Client, override_settings

from ferrokv import StoreFailed
from ferrokv.contrib.django.pipelining import CURRENT
from ferrokv.contrib.django.sessions import SessionStore
from ferrokv.local.storage.local import LocalStorage
from ferrokv.local.storage.requests import Sync

from ...support.django_setup import configured

MIDDLEWARE = [
    "ferrokv.contrib.django.middleware.PipelinedMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
]


@pytest.fixture
def cache(store_path: Path) -> Iterator[Any]:
    with configured(
        store_path, {"other": {"KEYSPACE": "other"}, "easy": {"KEYSPACE": "easy", "IGNORE_EXCEPTIONS": True}}
    ) as made:
        made.set("opened", 1)
        yield made


@pytest.fixture
def syncs(monkeypatch: pytest.MonkeyPatch) -> list[Sync]:
    """Every sync of file content from now on, and an error for each while `fails` is set on the list."""
    seen: Any = type("Syncs", (list,), {"fails": False})()
    perform = LocalStorage.perform

    def noting(self: LocalStorage, request: Any) -> Any:
        if isinstance(request, Sync):
            seen.append(request)
            if seen.fails:
                raise OSError(5, "Input/output error")
        return perform(self, request)

    monkeypatch.setattr(LocalStorage, "perform", noting)
    return seen  # type: ignore[no-any-return]


@pytest.mark.usefixtures("standing_clock")
def test_a_block_costs_one_sync_and_sees_its_own_writes(cache: Any, syncs: list[Sync]) -> None:
    caches["other"].set("warm", 1)
    caches["easy"].set("warm", 1)
    syncs.clear()
    with cache.pipelined():
        cache.set("a", "A", 100)
        cache.set_many({"b": 1, "c": 2})
        assert cache.get_many("abc") == {"a": "A", "b": 1, "c": 2}
        assert cache.incr("b", 5) == 6
        assert cache.add("a", "no") is False
        assert cache.add("d", 4) is True
        assert cache.touch("a", 50) is True
        assert cache.ttl("a") == 50
        cache.delete_many(["c"])
        assert cache.delete("d") is True
        assert cache.has_key("d") is False
        cache.set("t", 1, tags=["t"])
        cache.delete_tag("t")
        assert cache.get("t") is None
        caches["other"].set("x", 1)
        caches["easy"].set("x", 2)
        assert cache.incr_version("a") == 2
        assert syncs == []
        assert _as_others_see("a", version=2) is None
    assert len(syncs) == 1
    assert _as_others_see("a", version=2) == "A"
    assert cache.get("b") == 6
    assert (caches["other"].get("x"), caches["easy"].get("x")) == (1, 2)


def _as_others_see(key: str, **kwargs: Any) -> Any:
    """What a thread outside the block gets."""
    seen: list[Any] = []
    thread = threading.Thread(
        target=contextvars.Context().run, args=(lambda: seen.append(caches["default"].get(key, **kwargs)),)
    )
    thread.start()
    thread.join()
    return seen[0]


def test_clear_keys_and_locks_inside_a_block(cache: Any) -> None:
    cache.set("old", 1)
    with cache.pipelined():
        cache.set("a", 1)
        assert cache.keys("*") == ["a", "old", "opened"]
        assert list(cache.iter_keys("a*")) == ["a"]
        with cache.lock("job"):
            cache.set("under the lock".replace(" ", "-"), 1)
        assert _as_others_see("under-the-lock") == 1, "whoever takes the lock next sees what was done under it"
        cache.clear()
        assert cache.get("old") is None
        assert cache.get("a") is None
        cache.set("b", 2)
        assert cache.delete_pattern("b") == 1
        assert cache.get_or_set("c", lambda: 3) == 3
        assert _as_others_see("c") == 3, (
            "who waits for a computation gets its value when it is there, not when the request ends"
        )
    assert cache.keys("*") == ["c"]


def test_nested_blocks_are_durable_at_their_ends(cache: Any, syncs: list[Sync]) -> None:
    with cache.pipelined():
        cache.set("a", 1)
        with cache.pipelined():
            cache.set("b", 2)
        assert len(syncs) == 1
        assert _as_others_see("b") == 2
        cache.set("c", 3)
    assert len(syncs) == 2
    assert CURRENT.get() is None


def test_a_block_that_raises_keeps_what_it_wrote(cache: Any) -> None:
    def work() -> None:
        with cache.pipelined():
            cache.set("a", 1)
            raise KeyError

    with pytest.raises(KeyError):
        work()
    assert cache.get("a") == 1


async def test_an_asynchronous_block(cache: Any, syncs: list[Sync]) -> None:
    await cache.aset("warm", 1)
    syncs.clear()
    async with cache.pipelined():
        await cache.aset("a", 1)
        assert await cache.aget("a") == 1
        assert await cache.aincr("a") == 2
        await asyncio.gather(*(cache.aset(f"k{i}", i) for i in range(20)))
        assert await cache.aget_many(["k0", "k19"]) == {"k0": 0, "k19": 19}
        await cache.aset("t", 1, tags=["t"])
        await cache.adelete_tag("t")
        assert await cache.aget("t") is None
        assert await asyncio.to_thread(cache.get, "a") == 2, "a thread that it starts is part of it"
        assert syncs == []
        assert _as_others_see("a") is None
    assert len(syncs) == 1
    assert await cache.aget("a") == 2


async def test_a_task_that_outlives_the_block_goes_its_own_way(cache: Any) -> None:
    may_write = asyncio.Event()

    async def write_later() -> None:
        await may_write.wait()
        await cache.aset("late", 1)

    async with cache.pipelined():
        task = asyncio.create_task(write_later())
        await asyncio.sleep(0)
    may_write.set()
    await task
    assert _as_others_see("late") == 1


@pytest.mark.parametrize("path", ["/much/", "/much-later/"])
@override_settings(MIDDLEWARE=MIDDLEWARE)
def test_a_request_with_its_session_costs_one_sync(cache: Any, syncs: list[Sync], path: str) -> None:
    client = Client()
    client.get(path)
    syncs.clear()
    assert client.get(path).content == b"9"
    assert len(syncs) == 1
    assert SessionStore(client.cookies["sessionid"].value)["seen"] == 2
    assert cache.get("counter") == 2


@pytest.mark.parametrize("path", ["/much/", "/much-later/"])
@override_settings(MIDDLEWARE=MIDDLEWARE)
async def test_a_request_under_asgi_costs_one_sync(cache: Any, syncs: list[Sync], path: str) -> None:
    client = AsyncClient()
    await client.get(path)
    syncs.clear()
    assert (await client.get(path)).content == b"9"
    assert len(syncs) == 1
    assert (await SessionStore(client.cookies["sessionid"].value).aload())["seen"] == 2


@override_settings(MIDDLEWARE=MIDDLEWARE)
def test_a_view_that_fails_keeps_what_it_wrote(cache: Any) -> None:
    client = Client(raise_request_exception=False)
    assert client.get("/fail/").status_code == 500
    assert _as_others_see("before") == 1


@override_settings(MIDDLEWARE=MIDDLEWARE)
def test_a_response_does_not_leave_when_its_writes_are_lost(cache: Any, syncs: Any) -> None:
    client = Client(raise_request_exception=False)
    syncs.fails = True
    assert client.get("/much/").status_code == 500
    syncs.fails = False
    assert client.get("/much/").status_code == 500, "the store takes no more writes"
    assert cache.get("k9") is None


def test_a_failure_of_caches_that_ignore_it_is_logged(cache: Any, syncs: Any, caplog: pytest.LogCaptureFixture) -> None:
    easy = caches["easy"]
    easy.set("warm", 1)
    with cache.pipelined():
        easy.set("x", 1)
        syncs.fails = True
    assert "ignored" in caplog.text
    assert easy.get("x") is None

    def work() -> None:
        with cache.pipelined():
            easy.set("x", 1)
            cache.set("x", 1)

    with pytest.raises(StoreFailed):
        work()


def test_a_login_under_the_middleware_is_indexed_and_conditional(cache: Any) -> None:
    from django.contrib.sessions.backends.base import UpdateError

    from ferrokv.contrib.django.sessions import flush_user_sessions, user_session_keys

    with cache.pipelined():
        session = SessionStore()
        session["_auth_user_id"] = "7"
        session.save()
        assert user_session_keys(7) == [session.session_key]
        assert SessionStore(session.session_key)["_auth_user_id"] == "7"
        assert flush_user_sessions(7) == 1
        session["more"] = 1
        with pytest.raises(UpdateError):
            session.save()
