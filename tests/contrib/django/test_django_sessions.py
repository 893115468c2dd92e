"""Sessions: the index by user, and every race that could bring one back."""

from __future__ import annotations

import asyncio
import os
import pickle
import random
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.sessions.backends.base import UpdateError
from django.core.cache import caches
from django.core.management import call_command
from django.test import override_settings
from django.utils.functional import SimpleLazyObject

from ferrokv import DataError
from ferrokv.contrib.django.handles import close_handles, make_temporary
from ferrokv.contrib.django.sessions import (
    SessionStore,
    aflush_user_sessions,
    auser_session_keys,
    flush_user_sessions,
    session_location,
    user_session_keys,
)

from ...conftest import ROOT
from ...support.django_setup import configured


@pytest.fixture(autouse=True)
def cache(store_path: Path) -> Iterator[Any]:
    with configured(store_path) as made:
        yield made


def log_in(user: object, **data: Any) -> SessionStore:
    session = SessionStore()
    session["_auth_user_id"] = str(user)
    session.update(data)
    session.save()
    return session


def test_somebody_is_logged_out_everywhere_in_one_step() -> None:
    sessions = [log_in(5) for _ in range(4)]
    other = log_in(6)
    assert sorted(user_session_keys(5)) == sorted(session.session_key or "" for session in sessions)
    assert flush_user_sessions(5, keep=sessions[0].session_key) == 3
    assert user_session_keys("5") == [sessions[0].session_key]
    assert [SessionStore().exists(session.session_key) for session in sessions] == [True, False, False, False]
    assert flush_user_sessions(5) == 1
    assert flush_user_sessions(5) == 0
    assert user_session_keys(5) == []
    assert other["_auth_user_id"] == "6"
    assert SessionStore(other.session_key)["_auth_user_id"] == "6"


def test_a_user_object_is_known_by_its_primary_key() -> None:
    log_in("00ab")
    pk = SimpleNamespace(value_to_string=lambda user: "00ab")
    assert flush_user_sessions(SimpleNamespace(_meta=SimpleNamespace(pk=pk))) == 1


@pytest.mark.parametrize(
    "user",
    [5, 2**70, "", "x" * 100_000, "\udcff", True, 1.5],
    ids=["int", "large", "empty", "overlong", "surrogate", "bool", "float"],
)
def test_whatever_a_program_takes_for_a_user_id_can_be_saved_and_ended(user: Any) -> None:
    """Tests of projects set it so: `session[SESSION_KEY] = user.pk`."""
    session = SessionStore()
    session["_auth_user_id"] = user
    session.save()
    again = SessionStore(session.session_key)
    again["seen"] = 1
    again.save()
    assert SessionStore(session.session_key)["_auth_user_id"] == user
    assert user_session_keys(user) == [session.session_key]
    again.cycle_key()
    again.save()
    assert user_session_keys(user) == [again.session_key]
    other = log_in("somebody else")
    assert flush_user_sessions(user) == 1
    assert user_session_keys(user) == []
    assert not SessionStore().exists(again.session_key)
    assert SessionStore().exists(other.session_key)
    last = SessionStore()
    last["_auth_user_id"] = user
    last.save()
    last.flush()  # logout
    assert user_session_keys(user) == []


def test_an_id_that_only_pickle_can_keep_is_saved_and_ended() -> None:
    with override_settings(SESSION_SERIALIZER="tests.contrib.django.test_django_sessions.Pickled"):
        for user in (uuid.UUID(int=5), Decimal("1.5"), SimpleLazyObject(lambda: "lazy")):
            session = SessionStore()
            session["_auth_user_id"] = user
            session.save()
            again = SessionStore(session.session_key)
            again["seen"] = 1
            again.save()
            assert user_session_keys(str(user)) == [session.session_key]
            assert flush_user_sessions(user) == 1


class Pickled:
    """A serializer of sessions that takes everything, as Django's own did until 5.0."""

    def dumps(self, value: Any) -> bytes:
        return pickle.dumps(value)

    def loads(self, data: bytes) -> Any:
        return pickle.loads(data)


LOCMEM = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}


@pytest.mark.parametrize("named", [True, False])
async def test_sessions_work_without_a_ferrokv_cache(tmp_path: Path, named: bool) -> None:
    """The usual settings of tests. The directory is named by a setting, or temporary."""
    where = {"FERROKV_SESSION_LOCATION": tmp_path / "sessions"} if named else {}
    with override_settings(CACHES=LOCMEM, **where):
        session = log_in(5, n=1)
        again = SessionStore(session.session_key)
        assert await again.aget("n") == 1
        assert user_session_keys(5) == await auser_session_keys(5) == [session.session_key]
        location = session_location()
        assert (location.path == str(tmp_path / "sessions")) is named
        assert flush_user_sessions(5) == 1
        close_handles(location.path)
    with override_settings(CACHES=LOCMEM, **where):
        assert (session_location().path == location.path) is named


def test_threads_that_ask_first_at_the_same_time_get_one_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def slow(prefix: str) -> str:
        time.sleep(0.02)
        made.append(make_temporary(prefix))
        return made[-1]

    monkeypatch.setattr("ferrokv.contrib.django.session_steps.make_temporary", slow)
    with override_settings(CACHES=LOCMEM):
        paths: list[str] = []
        threads = [threading.Thread(target=lambda: paths.append(session_location().path)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert paths == made * 8


def test_a_directory_of_their_own_may_be_that_of_a_cache(tmp_path: Path) -> None:
    """Then the sessions open it with the options of the cache, whichever comes first."""
    entry = {"BACKEND": "ferrokv.contrib.django.FerroKVCache", "LOCATION": tmp_path / "store"}
    caches_ = {"default": {**entry, "OPTIONS": {"memtable_bytes": 1 << 20}}}
    with override_settings(CACHES=caches_, FERROKV_SESSION_LOCATION=str(tmp_path / "store")):
        session = log_in(5)
        caches["default"].set("k", 1)
        assert session_location().options == {"memtable_bytes": 1 << 20}
        assert user_session_keys(5) == [session.session_key]
        close_handles(str(tmp_path / "store"))


def test_the_temporary_directory_goes_with_its_process(tmp_path: Path) -> None:
    program = """
import os, sys
from django.conf import settings
settings.configure(SECRET_KEY="x", SESSION_ENGINE="ferrokv.contrib.django.sessions",
    CACHES={"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}})
import asyncio
from ferrokv.contrib.django.sessions import SessionStore, session_location
session = SessionStore()
session["k"] = 1
session.save()
asyncio.run(SessionStore(session.session_key).aload())
print(session_location().path, os.path.exists(session_location().path), flush=True)
if os.fork() == 0:
    assert SessionStore(session.session_key)["k"] == 1
    sys.exit()
os.wait()
print(os.path.exists(session_location().path))
"""
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[1:] == ["True", "True"]
    assert done.stdout.startswith(str(tmp_path))
    assert list(tmp_path.glob("ferrokv-sessions-*")) == []
    assert done.stderr == ""


def test_nobody_is_no_user() -> None:
    with pytest.raises(DataError, match="a user or a primary key"):
        flush_user_sessions(None)
    session = SessionStore()
    session["_auth_user_id"] = None
    session.save()
    assert "_auth_user_id" in SessionStore(session.session_key)


def test_the_index_follows_logout_cycling_and_a_change_of_user() -> None:
    session = log_in(5)
    old = session.session_key
    session.cycle_key()
    session.save()
    assert user_session_keys(5) == [session.session_key] != [old]
    again = SessionStore(session.session_key)
    again["_auth_user_id"] = "6"
    again.save()
    assert user_session_keys(5) == []
    assert user_session_keys(6) == [session.session_key]
    del again["_auth_user_id"]
    again.save()
    assert user_session_keys(6) == []
    assert SessionStore().exists(session.session_key)
    last = log_in(5)
    last.flush()
    assert user_session_keys(5) == []
    users = session_location().sibling("sessions:users").blocking
    assert users.keys("*") == []


def test_expired_sessions_leave_the_index_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    users = session_location().sibling("sessions:users").blocking
    short = log_in(5)
    short.set_expiry(0.05)
    short.save()
    long = log_in(5)
    ends = users.zscore("5", short.session_key or "") or 0
    while time.time() * 1000 <= ends or SessionStore().exists(short.session_key):
        pass  # the clocks of the index and of the store may differ by a millisecond
    assert user_session_keys(5) == [long.session_key]
    log_in(5)
    assert users.zcard("5") == 3, "a clock that is only wrong takes no session out of the index"
    now = time.time() + 86_401
    monkeypatch.setattr("ferrokv.contrib.django.session_steps.time.time", lambda: now)
    long.save()
    newest = log_in(5)
    monkeypatch.undo()
    assert users.zscore("5", short.session_key or "") is None, "a new session is the occasion to forget"
    assert {long.session_key, newest.session_key} <= {*user_session_keys(5)}
    assert users.pttl("5") > 0
    newest.set_expiry(0)
    newest["x"] = 1
    newest.save()
    call_command("clearsessions")


def test_a_logout_everywhere_beats_every_save_that_comes_later() -> None:
    """Requests save sessions in threads while the user is logged out: afterwards there is none, and none comes back."""
    keys = [log_in(5, n=0).session_key for _ in range(6)]
    logged_out = threading.Event()
    refused: list[str] = []
    wrong: list[str] = []

    def answer_requests(key: str) -> None:
        for i in range(200):
            session = SessionStore(key)
            session["n"] = i
            if session.session_key is None:
                break
            try:
                session.save()
            except UpdateError:
                refused.append(key)
                break
        logged_out.wait()
        if SessionStore().exists(key):
            wrong.append(key)

    threads = [threading.Thread(target=answer_requests, args=(key,)) for key in keys]
    for thread in threads:
        thread.start()
    flush_user_sessions(5)
    logged_out.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert user_session_keys(5) == []
    assert not any(SessionStore().exists(key) for key in keys)


def test_the_index_is_exact_after_random_histories() -> None:
    chance = random.Random(20261125)
    alive: dict[str, str] = {}
    for _ in range(300):
        what = chance.random()
        if what < 0.45 or not alive:
            user = chance.choice("abc")
            alive[log_in(user).session_key or ""] = user
        elif what < 0.6:
            key = chance.choice(sorted(alive))
            SessionStore(key).flush()
            del alive[key]
        elif what < 0.75:
            key = chance.choice(sorted(alive))
            session = SessionStore(key)
            session.cycle_key()
            session.save()
            alive[session.session_key or ""] = alive.pop(key)
        elif what < 0.95:
            key = chance.choice(sorted(alive))
            session = SessionStore(key)
            session["_auth_user_id"] = alive[key] = chance.choice("abc")
            session.save()
        else:
            user = chance.choice("abc")
            assert flush_user_sessions(user) == sum(owner == user for owner in alive.values())
            alive = {key: owner for key, owner in alive.items() if owner != user}
        for user in "abc":
            assert sorted(user_session_keys(user)) == sorted(key for key, owner in alive.items() if owner == user)


async def test_the_asynchronous_engine() -> None:
    session = SessionStore()
    await session.aset("_auth_user_id", "5")
    await session.asave()
    assert await auser_session_keys(5) == [session.session_key]
    await session.acycle_key()
    await session.asave()
    assert await auser_session_keys(5) == [session.session_key]
    second = SessionStore(session.session_key)
    await second.aset("more", 1)
    assert await aflush_user_sessions(5) == 1
    with pytest.raises(UpdateError):
        await second.asave()
    third = SessionStore()
    await third.aset("_auth_user_id", "5")
    await third.asave()
    await third.aflush()
    assert await auser_session_keys(5) == []
    await asyncio.gather(*(SessionStore.aclear_expired() for _ in range(2)))


@pytest.mark.parametrize("key", ["", "x" * 5_000, "a\0b" * 5, "\ud800" * 9, "unknown-key-of-somebody"])
async def test_a_made_up_session_key_is_never_adopted(key: str) -> None:
    for session in (SessionStore(key), SessionStore(key)):
        session["a"] = 1
        session.save()
        assert session.session_key != key
        assert SessionStore(session.session_key)["a"] == 1
    session = SessionStore(key)
    assert await session.aload() == {}
    assert await session.aexists(key) is False
    await session.adelete(key)


def test_a_tampered_session_is_empty(caplog: pytest.LogCaptureFixture) -> None:
    session = log_in(5)
    db = session_location().blocking
    db.set(session.session_key or "", b"\xff\x00 no session at all", ex=100)
    assert SessionStore(session.session_key).load() == {}
    assert SessionStore(session.session_key).get("_auth_user_id") is None
