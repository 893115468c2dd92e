"""What Django's own suites do not ask of the cache and the sessions."""

from __future__ import annotations

import asyncio
import os
import pickle
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches
from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.core.cache.backends.locmem import LocMemCache
from django.test import override_settings
from django.utils.translation import gettext_lazy

from ferrokv import ResponseError
from ferrokv.contrib.codecs.values import MISSING, SEALED, ValueCodec
from ferrokv.contrib.django.handles import close_handles

from ...support.django_setup import configured


@pytest.fixture
def cache(store_path: Path) -> Iterator[Any]:
    with configured(store_path, {"other": {"KEYSPACE": "other"}}) as made:
        yield made


class Bomb:
    """Unpickling this is an attack that succeeded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("unpickled without a valid seal",))


def test_a_value_without_a_valid_seal_is_never_unpickled(caplog: pytest.LogCaptureFixture) -> None:
    codec = ValueCodec(["key"])
    body = pickle.dumps(Bomb())
    for stored in (
        bytes((SEALED, 1, 0)) + bytes(16) + body,
        ValueCodec(["another"]).encode(Bomb()),
        body,
        b"",
        b"-",
        b"9" * 5_000,
    ):
        assert codec.decode(stored) is MISSING
    assert caplog.text.count("no valid seal") == 2


def test_a_rotated_secret_key_reads_through_fallbacks_and_otherwise_misses(cache: Any) -> None:
    cache.set("k", {"a": 1}, None)
    with override_settings(SECRET_KEY="new", SECRET_KEY_FALLBACKS=["tests"]):
        assert type(cache)(cache._location.path, {}).get("k") == {"a": 1}
    with override_settings(SECRET_KEY="new"):
        fresh = type(cache)(cache._location.path, {})
        assert fresh.get("k") is None
        assert fresh.get_or_set("k", lambda: "computed") == "computed"
        assert fresh.get("k") == "computed"


def test_clear_leaves_other_keyspaces_and_sessions_alone(cache: Any) -> None:
    from ferrokv.contrib.django.sessions import SessionStore

    caches["other"].set("k", 1)
    cache.set("k", 2)
    session = SessionStore()
    session["user"] = 5
    session.save()
    cache.clear()
    assert cache.get("k") is None
    assert caches["other"].get("k") == 1
    assert SessionStore(session.session_key)["user"] == 5


def test_a_logout_between_load_and_save_is_not_undone(cache: Any) -> None:
    from django.contrib.sessions.backends.base import UpdateError

    from ferrokv.contrib.django.sessions import SessionStore

    first = SessionStore()
    first["user"] = 5
    first.save()
    second = SessionStore(first.session_key)
    assert second["user"] == 5
    first.flush()
    second["more"] = 1
    with pytest.raises(UpdateError):
        second.save()
    assert not SessionStore().exists(second.session_key or "")


@pytest.mark.parametrize("key", ["", "x" * 5_000, "a\0b", "\ud800", "unknown-key-of-somebody"])
def test_a_made_up_session_key_is_not_adopted(cache: Any, key: str) -> None:
    from ferrokv.contrib.django.sessions import SessionStore

    session = SessionStore(key)
    assert session.load() == {}
    assert session.session_key is None
    assert SessionStore().exists(key) is False


@pytest.mark.usefixtures("standing_clock")
def test_incr_is_atomic_and_keeps_the_timeout(cache: Any) -> None:
    cache.set("n", 0, 100)

    async def count() -> list[int]:
        return await asyncio.gather(*(cache.aincr("n") for _ in range(50)))

    assert sorted(asyncio.run(count())) == list(range(1, 51))
    assert cache._location.blocking.ttl(cache._key("n", None)) == 100
    cache.set("text", "1")
    with pytest.raises(TypeError, match="found=str"):
        cache.incr("text")
    assert cache.get("text") == "1"


@pytest.mark.usefixtures("standing_clock")
def test_timeouts(cache: Any) -> None:
    cache.set("a", 1, 9.75)
    cache.set("b", 1, float("inf"))
    cache.set("c", 1, -1)
    db = cache._location.blocking
    assert db.pttl(cache._key("a", None)) == 9_750
    assert db.pttl(cache._key("b", None)) == -1
    assert cache.get("c") is None
    assert cache.touch("a", None) is True
    assert db.pttl(cache._key("a", None)) == -1
    assert cache.add("d", 1, 0) is True
    assert cache.get("d") is None


def test_types_survive(cache: Any) -> None:
    for value in (True, False, None, 0, -5, 1 << 70, "5", b"5", 1.0, [1], {"a": (1,)}):
        cache.set("k", value)
        found = cache.get("k", "missing")
        assert (type(found), found) == (type(value), value)


def test_many_first_uses_open_the_store_once(cache: Any, openings: list[Any]) -> None:
    async def count() -> list[int]:
        return sorted(await asyncio.gather(*(cache.aincr("n") for _ in range(50))))

    cache.set("n", 0)  # through a handle of threads
    openings.clear()
    assert asyncio.run(count()) == [*range(1, 51)]
    assert len(openings) == 1


async def test_coroutine_defaults(cache: Any) -> None:
    async def compute() -> int:
        return 7

    assert await cache.aget_or_set("k", compute) == 7
    assert await cache.aget_or_set("k", lambda: 8) == 7
    assert await cache.aget_or_set("other", 9) == 9


def test_a_value_that_can_not_be_pickled_stops_the_whole_batch(cache: Any) -> None:
    with pytest.raises((pickle.PicklingError, AttributeError, TypeError)):
        cache.set_many({"a": 1, "b": lambda: None})
    assert cache.get("a") is None


async def test_what_is_too_much_for_one_commit_goes_in_several(cache: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ferrokv.contrib.shared.PART_RECORDS", 10)
    monkeypatch.setattr("ferrokv.local.tree.overlay.BATCH_RECORDS_MAX", 12)
    data = {f"k{i}": i for i in range(35)}
    assert cache.set_many(data) == []
    assert cache.get_many(data) == data
    cache.delete_many(data)
    assert await cache.aset_many(data) == []
    assert await cache.aget_many(data) == data
    await cache.adelete_many(data)
    assert cache.get_many(data) == {}
    with pytest.raises((pickle.PicklingError, AttributeError, TypeError)):
        cache.set_many({**data, "last": lambda: None})
    assert cache.get_many(data) == {}, "nothing is written before all values are encoded"


@pytest.mark.parametrize("tags", [None, ["t"]])
@pytest.mark.parametrize(
    ("value", "delta"),
    [((1 << 63) - 1, 1), (-(1 << 63), -1), (1 << 70, 1 << 70), (5, 1 << 64), (1.5, 1), (1, 0.5), (True, 1), (0, True)],
    ids=str,
)
async def test_counting_is_what_djangos_cache_in_memory_does(cache: Any, value: Any, delta: Any, tags: Any) -> None:
    """Past 64 bits, with floats and with bools; the timeout stays, and so do the tags."""
    memory = LocMemCache(f"{value}+{delta}+{tags}", {})
    cache.set("n", value, 100, tags=tags)
    memory.set("n", value)
    for _ in range(2):
        expected = memory.incr("n", delta)
        assert cache.incr("n", delta) == expected
        assert (type(cache.get("n")), cache.get("n")) == (type(expected), expected)
    assert await cache.aincr("n", delta) == memory.incr("n", delta)
    assert cache.decr("n", delta) == memory.decr("n", delta)
    assert cache.get("n") == memory.get("n")
    assert 98 <= cache.ttl("n") <= 100
    if tags:
        cache.delete_tag("t")
        with pytest.raises(ValueError, match="not found"):
            cache.incr("n", delta)
    assert cache.incr("new", delta, ignore_key_check=True) == delta
    for wrong in ("1", Decimal(1), None):
        with pytest.raises(TypeError, match="delta is not an int or float"):
            cache.incr("n", wrong)
        with pytest.raises(TypeError, match="delta is not an int or float"):
            cache.incr("missing", wrong, ignore_key_check=True)


def test_a_coroutine_function_is_no_default_for_get_or_set(cache: Any) -> None:
    async def compute() -> int:
        return 1

    with pytest.raises(TypeError, match="use aget_or_set"):
        cache.get_or_set("k", compute)
    with pytest.raises(TypeError, match="use aget_or_set"):
        cache.get_or_set("k", compute, 0)
    assert cache.get("k") is None
    assert asyncio.run(cache.aget_or_set("k", compute)) == 1


@pytest.mark.usefixtures("standing_clock")
async def test_expire_takes_what_set_takes(cache: Any) -> None:
    cache.set("k", 1, None)
    for expire, timeout, expected in (
        (cache.expire, DEFAULT_TIMEOUT, 300_000),
        (cache.pexpire, DEFAULT_TIMEOUT, 300_000),
        (cache.expire, timedelta(minutes=2), 120_000),
        (cache.pexpire, timedelta(seconds=1.5), 1_500),
        (cache.expire, 1.5, 1_500),
        (cache.pexpire, 1_234, 1_234),
        (cache.pexpire, 1500.0, 1_500),
        (cache.pexpire, Decimal(1500), 1_500),
    ):
        assert expire("k", timeout) is True
        assert cache.pttl("k") == expected
    assert cache.expire("k") is True
    assert cache.ttl("k") == 300
    assert cache.expire("k", None) is True
    assert cache.ttl("k") is None
    assert await cache.aexpire("k", 5) is True
    assert await cache.apexpire("missing", 5) is False
    assert cache.expire("missing", None) is False
    for wrong in ("5", [5]):
        with pytest.raises(TypeError, match="a timeout is a number"):
            cache.expire("k", wrong)
        with pytest.raises(TypeError, match="a timeout is a number"):
            cache.pexpire("k", wrong)
    assert cache.expire("k", 0) is True
    assert cache.get("k") is None


@pytest.mark.parametrize("inside", [True, False])
def test_the_function_that_reverses_keys_may_stand_where_other_backends_have_it(store_path: Path, inside: bool) -> None:
    entry: dict[str, Any] = {"BACKEND": "ferrokv.contrib.django.FerroKVCache", "LOCATION": store_path}
    option = {"REVERSE_KEY_FUNCTION": f"{__name__}.reversed_key"}
    entry.update({"OPTIONS": option} if inside else option)
    with override_settings(CACHES={"default": {**entry, "KEY_FUNCTION": f"{__name__}.reversing_key"}}):
        caches["default"].set("abc", 1)
        assert caches["default"].keys("*") == ["abc"]
        close_handles(str(store_path))


def reversing_key(key: str, prefix: str, version: int) -> str:
    return f"{version}!{key[::-1]}"


def reversed_key(full: str) -> str:
    return full.partition("!")[2][::-1]


def test_deleting_says_how_many_and_takes_lists_of_tags(cache: Any) -> None:
    cache.set_many({"a": 1, "b": 2})
    assert cache.delete_many(["a", "b", "c"]) == 2
    assert cache.delete_many(["a"]) == 0
    assert cache.delete_many([]) is None  # Django's own tests want that
    for names in (["t", "u"], ("t", "u"), {"t", "u"}):
        cache.set("a", 1, tags=["t"])
        cache.set("b", 1, tags=["u"])
        cache.delete_tag(names)
        assert cache.get_many(["a", "b"]) == {}
    cache.set("a", 1, tags=["t"])
    cache.delete_tag("u", ["t"])
    assert cache.get("a") is None
    for tag in (5, uuid.UUID(int=5), gettext_lazy("abc")):
        cache.set("a", 1, tags=[tag])
        cache.delete_tag(tag)
        assert cache.get("a") is None


@pytest.mark.usefixtures("standing_clock")
async def test_timeouts_may_be_timedeltas_and_nothing_that_is_no_number(cache: Any) -> None:
    cache.set("k", 1, timedelta(minutes=1))
    assert cache.ttl("k") == 60
    assert cache.touch("k", timedelta(seconds=1.5)) is True
    assert cache.pttl("k") == 1500
    cache.set_many({"m": 1}, timedelta(days=1))
    await cache.aset("n", 1, timedelta(hours=1))
    assert (cache.ttl("m"), cache.ttl("n")) == (86_400, 3_600)
    assert cache.get_or_set("o", lambda: 1, timedelta(seconds=5), stale_ttl=timedelta(seconds=5)) == 1
    for wrong in ("60", b"60", [60], object()):
        for use in (
            lambda wrong=wrong: cache.set("k", 2, wrong),
            lambda wrong=wrong: cache.add("new", 2, wrong),
            lambda wrong=wrong: cache.touch("k", wrong),
            lambda wrong=wrong: cache.set_many({"k": 2}, wrong),
            lambda wrong=wrong: cache.get_or_set("new", 2, wrong),
        ):
            with pytest.raises(TypeError, match="a timeout is a number of seconds, a timedelta or None: found="):
                use()
    assert cache.get_or_set("p", lambda: 1, Fraction(5), stale_ttl=Decimal(5)) == 1
    with pytest.raises(TypeError, match="stale_ttl is a number"):
        cache.get_or_set("new", 2, 5, stale_ttl="5")
    with pytest.raises(ValueError, match="stale_ttl cannot be negative"):
        cache.get_or_set("new", 2, 5, stale_ttl=-1)
    assert cache.get("k") == 1
    assert cache.get("new") is None


def test_the_extras_of_django_redis(cache: Any, standing_clock: int) -> None:
    assert cache.set("a", 1, timeout=100) is None
    assert cache.set("a", 1, timeout=100, xx=True) is True
    assert cache.set("a", 2, timeout=100, nx=True) is False
    assert cache.set("b", 2, timeout=None, xx=True) is False
    assert cache.set("b", "two", timeout=None, nx=True) is True
    assert cache.set("none", 1, timeout=0, nx=True) is True
    assert cache.set("a", 1, timeout=0, nx=True) is False
    assert cache.set("none", 1, timeout=0, xx=True) is False
    assert (cache.ttl("a"), cache.ttl("b"), cache.ttl("none")) == (100, None, 0)
    assert cache.pttl("a") == 100_000
    assert cache.persist("a") is True
    assert cache.persist("a") is False
    assert cache.expire("a", 50) is True
    assert cache.pexpire("a", 60_000) is True
    assert cache.ttl("a") == 60
    assert cache.expire("none", 50) is False
    when = datetime.fromtimestamp(standing_clock / 1000, UTC) + timedelta(seconds=70)
    assert cache.expire_at("a", when) is True
    assert cache.ttl("a") in (69, 70)  # expire_at counts whole seconds
    assert cache.pexpire_at("a", int((when.timestamp() + 10) * 1000)) is True
    assert cache.ttl("a") == 80
    assert cache.expire_at("a", 1) is True
    assert cache.get("a") is None
    assert cache.incr("n", ignore_key_check=True) == 1
    assert cache.incr("n", 4, ignore_key_check=True) == 5
    with pytest.raises(ValueError, match="not found"):
        cache.incr("missing")
    with cache.lock("job", timeout=5) as lock:
        assert cache.lock("job").acquire(blocking=False) is False
        assert lock.owned()


@pytest.mark.parametrize("prefix", ["", "site:*[x]"])
def test_patterns_match_whole_keys_of_this_prefix_and_version(store_path: Path, prefix: str) -> None:
    entry = {"BACKEND": "ferrokv.contrib.django.FerroKVCache", "LOCATION": store_path, "KEY_PREFIX": prefix}
    with override_settings(CACHES={"default": entry, "twin": {**entry, "KEY_PREFIX": "site:anything"}}):
        cache, twin = caches["default"], caches["twin"]
        for name in ("user:1", "user:2", "users", "user:1:x", "ключ"):
            cache.set(name, 1)
            twin.set(name, 1)
        cache.set("user:1", 1, version=2)
        assert cache.keys("user:*") == ["user:1", "user:1:x", "user:2"]
        assert list(cache.iter_keys("user:?")) == ["user:1", "user:2"]
        assert cache.keys("к*") == ["ключ"]
        assert cache.keys("*", version=2) == ["user:1"]
        assert cache.delete_pattern("user:*") == 3
        assert cache.keys("*") == ["users", "ключ"]
        assert cache.get("user:1", version=2) == 1
        assert len(twin.keys("*")) == 5
        assert cache.delete_pattern("*", prefix="site:anything") == 5
    with override_settings(CACHES={"default": {**entry, "OPTIONS": {"REVERSE_KEY_FUNCTION": "builtins.repr"}}}):
        assert caches["default"].keys("users") == [repr(f"{prefix}:1:users")]


@pytest.mark.usefixtures("standing_clock")
async def test_the_asynchronous_extras(cache: Any) -> None:
    assert await cache.aset("a", 1, timeout=100, nx=True) is True
    assert await cache.aset("a", 1, timeout=100, nx=True) is False
    assert await cache.aset("b", 1, timeout=0, xx=True) is False
    assert (await cache.attl("a"), await cache.attl("b")) == (100, 0)
    assert await cache.apttl("a") == 100_000
    assert await cache.apersist("a") is True
    assert await cache.attl("a") is None
    assert await cache.aexpire("a", 50) is True
    assert await cache.apexpire("a", 60_000) is True
    assert await cache.aexpire_at("a", 4_000_000_000) is True
    assert await cache.apexpire_at("a", 4_000_000_000_000) is True
    assert await cache.aincr("n", ignore_key_check=True) == 1
    assert await cache.akeys("*") == ["a", "n"]
    assert [key async for key in cache.aiter_keys("[ab]")] == ["a"]
    assert await cache.adelete_pattern("?") == 2
    async with await cache.alock("job", timeout=5):
        assert await (await cache.alock("job")).acquire(blocking=False) is False


def test_one_thread_computes_while_the_others_wait(cache: Any) -> None:
    computed: list[int] = []

    def compute() -> str:
        computed.append(threading.get_ident())
        time.sleep(0.05)
        return "value"

    found: list[Any] = []
    threads = [
        threading.Thread(target=lambda: found.append(caches["default"].get_or_set("k", compute, 100))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["value"] * 8
    assert len(computed) == 1
    assert cache.keys("*") == ["k"]
    assert cache.get_or_set("plain", 5) == 5
    assert cache.get_or_set("none", lambda: None) is None
    assert cache.has_key("none")
    assert cache.get_or_set("gone", lambda: 7, timeout=0) == 7


def test_a_computation_that_fails_or_asks_for_itself_holds_nobody_up(cache: Any) -> None:
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            cache.get_or_set("k", lambda: 1 // 0)
    assert cache.get_or_set("k", lambda: cache.get_or_set("k", lambda: "inner")) == "inner"
    caches["default"]._locks_location.blocking.rpush("odd", 1)
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        caches["default"]._locks_location.blocking.lock("odd").acquire(blocking=False)


async def test_one_task_computes_while_the_others_wait(cache: Any) -> None:
    computed = 0

    async def compute() -> str:
        nonlocal computed
        computed += 1
        await asyncio.sleep(0.05)
        return "value"

    assert await asyncio.gather(*(cache.aget_or_set("k", compute) for _ in range(8))) == ["value"] * 8
    assert computed == 1

    async def fails() -> None:
        raise KeyError("mine")

    for _ in range(2):
        with pytest.raises(KeyError):
            await cache.aget_or_set("other", fails)
    waiting = asyncio.create_task(cache.aget_or_set("slow", asyncio.Event().wait))
    await asyncio.sleep(0.02)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await cache.aget_or_set("slow", lambda: 3) == 3


HERD = """
import sys, time, django
from django.conf import settings
entry = {"BACKEND": "ferrokv.contrib.django.FerroKVCache", "LOCATION": sys.argv[1]}
settings.configure(SECRET_KEY="tests", CACHES={"default": entry})
django.setup()
from django.core.cache import cache
cache.get("warm")
print("ready", flush=True)
sys.stdin.readline()

def compute():
    with open(sys.argv[2], "a") as log:
        log.write("x")
    time.sleep(0.2)
    return 42

print(cache.get_or_set("k", compute), flush=True)
"""


def test_one_process_computes_while_the_others_wait(store_path: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", HERD, str(store_path), str(log)],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent.parent)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for program in programs:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
    for program in programs:
        assert program.stdin is not None
        program.stdin.write("\n")
        program.stdin.flush()
    assert [program.communicate(timeout=60)[0] for program in programs] == ["42\n"] * 3
    assert log.read_text() == "x"
