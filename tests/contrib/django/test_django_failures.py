"""What the cache does when the store or the call is bad: Django's conventions, and nothing at all with IGNORE_EXCEPTIONS."""

from __future__ import annotations

import pickle
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches
from django.core.cache.backends.base import CacheKeyWarning, InvalidCacheKey
from django.test import Client, override_settings

from ferrokv import DataError, FerroKVError, StoreFailed, StoreFull, StorePathError
from ferrokv.contrib.django.forgiving import ANSWERS
from ferrokv.contrib.django.sessions import SessionStore
from ferrokv.local.storage.local import LocalStorage
from ferrokv.local.storage.requests import WriteAt

from ...support.django_setup import configured


@pytest.fixture
def cache(store_path: Path) -> Iterator[Any]:
    with configured(store_path, {"easy": {"KEYSPACE": "easy", "IGNORE_EXCEPTIONS": True}}) as made:
        yield made


@pytest.mark.parametrize("key", ["with space", "tab\there", "new\nline", "del\x7f", "\x00", "x" * 251])
def test_keys_that_memcached_would_refuse_are_warned_of_and_work(cache: Any, key: str) -> None:
    with pytest.warns(CacheKeyWarning):
        cache.set(key, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert cache.get(key) == 1
        assert cache.get_many([key]) == {key: 1}
        assert cache.keys("*") == [key]


def test_keys_of_every_kind(cache: Any) -> None:
    for key in ("", "ключ", "\ud800", 5, 1.5, None, ("a", 1), "é" * 200):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CacheKeyWarning)
            cache.set(key, repr(key))
            assert cache.get(key) == repr(key)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CacheKeyWarning)
        for call in (cache.get, cache.delete, cache.has_key, cache.incr):
            with pytest.raises(InvalidCacheKey):
                call("x" * 66_000)
        with pytest.raises(InvalidCacheKey):
            cache.set("x" * 66_000, 1)


def test_a_subclass_may_make_its_own_keys(store_path: Path) -> None:
    from ferrokv.contrib.django import FerroKVCache

    class Shouting(FerroKVCache):
        def make_key(self, key: Any, version: int | None = None) -> str:
            return super().make_key(key, version).upper()

        def validate_key(self, key: str) -> None:
            if "?" in key:
                raise InvalidCacheKey(key)

    with configured(store_path) as plain:
        cache = Shouting(store_path, {})
        cache.set("k", 1)
        assert plain.get("K") == 1
        with pytest.raises(InvalidCacheKey):
            cache.get("?")


def test_values_that_can_not_be_stored_raise_and_leave_what_was_there(cache: Any) -> None:
    easy = caches["easy"]
    for one in (cache, easy):
        one.set("k", "kept")
        for write in (one.set, one.add):
            with pytest.raises((pickle.PicklingError, AttributeError, TypeError)):
                write("k", lambda: None)
        with pytest.raises((pickle.PicklingError, AttributeError, TypeError)):
            one.set_many({"a": 1, "k": lambda: None})
        with pytest.raises(DataError):
            one.set("k", bytes(65 << 20))
        assert one.get("k") == "kept"
        assert one.get("a") is None


def test_a_large_value_is_stored(cache: Any) -> None:
    cache.set("big", bytes(20 << 20))
    assert len(cache.get("big")) == 20 << 20


def test_a_tampered_value_is_a_miss_that_add_replaces(cache: Any, caplog: pytest.LogCaptureFixture) -> None:
    cache.set("k", {"a": 1})
    db, name = cache._location.blocking, cache._key("k", None)
    stored = db.get(name)
    db.set(name, stored[:-2] + bytes((stored[-2] ^ 1,)) + stored[-1:])
    assert cache.get("k", "missing") == "missing"
    assert cache.get_many(["k"]) == {}
    assert cache.has_key("k") is False
    assert cache.touch("k") is False
    assert cache.ttl("k") == 0
    assert cache.keys("*") == []
    assert "no valid seal" in caplog.text
    assert stored[19:].hex() not in caplog.text, "values do not go into logs"
    assert cache.add("k", "new") is True
    assert cache.get("k") == "new"


def _use_everything(cache: Any) -> None:
    """Every method; what they answer is that of an empty cache."""
    assert cache.get("k", "default") == "default"
    assert cache.set("k", 1) is None
    assert cache.set("k", 1, nx=True) is False
    assert cache.add("k", 1) is False
    assert cache.touch("k") is False
    assert cache.delete("k") is False
    assert cache.get_many(["k"]) == {}
    assert cache.set_many({"k": 1, "l": 2}) == ["k", "l"]
    assert cache.delete_many(["k"]) == 0
    assert cache.has_key("k") is False
    assert "k" not in cache
    assert cache.incr("k") == 1
    assert cache.decr("k", 3) == -3
    assert cache.clear() is None
    assert cache.keys("*") == []
    assert list(cache.iter_keys("*")) == []
    assert cache.delete_pattern("*") == 0
    assert cache.delete_tag("t") is None
    assert (cache.ttl("k"), cache.pttl("k"), cache.persist("k"), cache.expire("k", 1)) == (0, 0, False, False)
    assert cache.expire_at("k", 2_000_000_000) is False
    computed: list[int] = []
    assert cache.get_or_set("k", lambda: computed.append(1) or "computed") == "computed"
    assert cache.get_or_set("k", "plain") == "plain"
    assert computed == [1]


async def _use_everything_later(cache: Any) -> None:
    assert await cache.aget("k", "default") == "default"
    assert await cache.aset("k", 1) is None
    assert await cache.aadd("k", 1) is False
    assert await cache.aget_many(["k"]) == {}
    assert await cache.aset_many({"k": 1}) == ["k"]
    assert await cache.aincr("k", 2) == 2
    assert await cache.ahas_key("k") is False
    assert [key async for key in cache.aiter_keys("*")] == []
    computed: list[int] = []

    async def compute() -> str:
        computed.append(1)
        return "computed"

    assert await cache.aget_or_set("k", compute) == "computed"
    assert await cache.aget_or_set("k", "plain") == "plain"
    assert computed == [1]


async def test_a_directory_that_can_not_be_opened(
    store_path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store_path.write_text("a file stands here")
    with configured(store_path, {"easy": {"IGNORE_EXCEPTIONS": True}}) as cache:
        for call in (cache.get, cache.delete, cache.incr):
            with pytest.raises(StorePathError):
                call("k")
        with pytest.raises(StorePathError):
            await cache.aget("k")
        with pytest.raises(StorePathError):
            SessionStore().save()
        _use_everything(caches["easy"])
        await _use_everything_later(caches["easy"])
    assert "cache failure ignored: method=get" in caplog.text


def test_a_directory_that_is_removed_under_a_living_process(cache: Any, store_path: Path) -> None:
    cache.set("k", 1)
    caches["easy"].set("k", 1)
    shutil.rmtree(store_path)
    assert cache.get("k") == 1, "what was read is in memory"

    def write_on() -> None:
        for i in range(100):
            cache.set("k", bytes(200_000) + bytes([i]))

    with pytest.raises(FerroKVError):
        write_on()
    _fails_but_is_ignored(caches["easy"])


def _fails_but_is_ignored(easy: Any) -> None:
    assert easy.add("more", 1) is False
    assert easy.incr("counter") == 1
    assert easy.get_or_set("computed", lambda: 5) == 5


def test_a_full_disk(cache: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    easy = caches["easy"]
    cache.set("k", 1)
    easy.set("k", 1)
    session = SessionStore()
    session["a"] = 1
    session.save()
    perform = LocalStorage.perform

    def full(self: LocalStorage, request: Any) -> Any:
        if isinstance(request, WriteAt):
            raise OSError(28, "No space left on device")
        return perform(self, request)

    with monkeypatch.context() as patched:
        patched.setattr(LocalStorage, "perform", full)
        with pytest.raises(StoreFull):
            cache.set("k", 2)
        with pytest.raises(StoreFull):
            session.save()
        _fails_but_is_ignored(easy)
        assert (cache.get("k"), easy.get("k")) == (1, 1)
        assert SessionStore(session.session_key)["a"] == 1
    cache.set("k", 3)
    assert cache.get("k") == 3


def test_a_poisoned_store_still_reads(cache: Any) -> None:
    cache.set("k", 1)
    cache._location.blocking._store.engine.poison("a test", OSError(5, "Input/output error"))
    assert cache.get("k") == 1
    with pytest.raises(StoreFailed):
        cache.set("k", 2)
    _fails_but_is_ignored(caches["easy"])


def test_every_method_that_may_be_ignored_is_one_of_the_cache(cache: Any) -> None:
    for name in ANSWERS:
        assert callable(getattr(type(cache), name))
        assert callable(getattr(type(cache), "a" + name))


def test_a_page_with_a_broken_cache_that_is_ignored_is_no_error(store_path: Path) -> None:
    store_path.write_text("a file stands here")
    middleware = [
        "ferrokv.contrib.django.middleware.PipelinedMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
    ]
    with (
        configured(store_path, IGNORE_EXCEPTIONS=True),
        override_settings(MIDDLEWARE=middleware, SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies"),
    ):
        assert Client().get("/read/").content == b"computedNone"
        assert Client().get("/much/").status_code == 200


@pytest.mark.parametrize("ignores", [False, True])
def test_a_rotated_secret_key_makes_misses_and_empty_sessions_and_no_errors(store_path: Path, ignores: bool) -> None:
    with configured(store_path, IGNORE_EXCEPTIONS=ignores) as cache:
        cache.set("k", "old")
        cache.set("n", 5)
        session = SessionStore()
        session["a"] = 1
        session.save()
    with override_settings(SECRET_KEY="new"), configured(store_path, IGNORE_EXCEPTIONS=ignores) as cache:
        assert cache.get("k") is None
        assert cache.get("n") == 5
        assert cache.add("k", "new") is True
        assert SessionStore(session.session_key).load() == {}
    with (
        override_settings(SECRET_KEY="newer", SECRET_KEY_FALLBACKS=["new"]),
        configured(store_path, IGNORE_EXCEPTIONS=ignores) as cache,
    ):
        assert cache.get("k") == "new"
