"""The app: system checks and management commands."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.test import override_settings

from ferrokv import BlockingFerroKV, Options
from ferrokv.contrib.django import FerroKVCache
from ferrokv.contrib.django.checks import TAG
from ferrokv.contrib.django.management import stores
from ferrokv.contrib.django.sessions import SessionStore, session_location

from ...conftest import ROOT
from ...support.django_setup import BACKEND, close_store, configured

SESSIONS = "django.contrib.sessions.middleware.SessionMiddleware"
PIPELINED = "ferrokv.contrib.django.middleware.PipelinedMiddleware"


@pytest.fixture
def safe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that does not count as temporary, wherever it is."""
    monkeypatch.setattr("tempfile.gettempdir", lambda: "/nowhere")
    monkeypatch.setattr("ferrokv.local.storage.directory._file_system", lambda path: "ext4")
    return tmp_path


def found(entry: dict[str, Any] | None = None, deploy: bool = False, **settings: Any) -> list[str]:
    """Ids of what the checks say."""
    if entry is not None:
        settings["CACHES"] = {"default": {"BACKEND": BACKEND, **entry}}
    with override_settings(**settings):
        messages = run_checks(tags=[TAG], include_deployment_checks=deploy)
    assert all(message.hint for message in messages)
    return sorted(str(message.id) for message in messages)


def test_a_good_place_has_nothing_to_be_said_of(safe: Path) -> None:
    assert found({"LOCATION": safe / "store"}) == []
    (safe / "other").mkdir(mode=0o700)
    assert found({"LOCATION": safe / "other"}, MIDDLEWARE=[PIPELINED, SESSIONS]) == []
    assert list(safe.iterdir()) == [safe / "other"], "a check makes nothing"


def test_places_that_can_not_serve(safe: Path) -> None:
    (safe / "file").write_text("")
    assert found({"LOCATION": safe / "file"}) == ["ferrokv.E001"]
    assert found({"LOCATION": safe / "missing" / "store"}) == ["ferrokv.E001"]
    for empty in ({"LOCATION": ""}, {}):
        assert found(empty, SESSION_ENGINE="django.contrib.sessions.backends.db") == ["ferrokv.E001"]
        assert found(empty) == ["ferrokv.E001", "ferrokv.E006"]
    (safe / "open").mkdir()
    (safe / "open").chmod(0o777)
    assert found({"LOCATION": safe / "open"}) == ["ferrokv.E001"]


def test_a_network_file_system_is_an_error(safe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ferrokv.local.storage.directory._file_system", lambda path: "nfs4")
    assert found({"LOCATION": safe / "store"}) == ["ferrokv.E001"]
    monkeypatch.setattr("ferrokv.local.storage.directory._file_system", lambda path: "tmpfs")
    assert found({"LOCATION": safe / "store"}) == ["ferrokv.W001"]


def test_a_temporary_directory_is_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    assert found({"LOCATION": tmp_path / "store"}) == ["ferrokv.W001"]


def test_public_directories_are_errors(safe: Path) -> None:
    location = {"LOCATION": safe / "public" / "store"}
    (safe / "public").mkdir()
    assert found(location, MEDIA_ROOT=str(safe)) == ["ferrokv.E002"]
    assert found(location, STATIC_ROOT=safe / "public") == ["ferrokv.E002"]
    assert found(location, STATICFILES_DIRS=[("prefix", safe / "public")]) == ["ferrokv.E002"]
    assert found(location, STATICFILES_DIRS=[safe / "public" / "store"]) == ["ferrokv.E002"]
    assert found(location, MEDIA_ROOT=safe / "pub") == []


def test_a_directory_that_everybody_may_read_is_warned_of(safe: Path) -> None:
    (safe / "store").mkdir()
    (safe / "store").chmod(0o755)
    assert found({"LOCATION": safe / "store"}) == ["ferrokv.W002"]


def test_settings_that_do_not_do_what_they_seem_to(safe: Path) -> None:
    location = {"LOCATION": safe / "store"}
    assert found({**location, "OPTIONS": {"MAX_ENTRIES": 5, "CULL_FREQUENCY": 2}}) == ["ferrokv.W003"]
    for taken in ("sessions", "sessions:users", "cache:tags", "x:locks"):
        assert found({**location, "OPTIONS": {"KEYSPACE": taken}}) == ["ferrokv.E004", "ferrokv.E006"]
        with pytest.raises(ImproperlyConfigured, match="is taken"):
            FerroKVCache(location["LOCATION"], {"OPTIONS": {"KEYSPACE": taken}}).get("k")
    assert found(location, MIDDLEWARE=[SESSIONS, PIPELINED]) == ["ferrokv.W004"]
    locmem = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    assert found(CACHES=locmem) == ["ferrokv.W005"]
    assert found(CACHES=locmem, deploy=True) == ["ferrokv.E006", "ferrokv.W005"]
    assert found(CACHES=locmem, FERROKV_SESSION_LOCATION=safe / "sessions", deploy=True) == []
    assert found(CACHES=locmem, FERROKV_SESSION_LOCATION="") == ["ferrokv.E006"]
    assert found(CACHES=locmem, FERROKV_SESSION_LOCATION=safe / "m" / "s", MEDIA_ROOT=safe / "m") == [
        "ferrokv.E001",
        "ferrokv.E002",
    ]
    assert found(CACHES=locmem, SESSION_ENGINE="django.contrib.sessions.backends.db") == []
    entry = {"BACKEND": BACKEND, **location}
    two = {"default": {**entry, "OPTIONS": {"block_bytes": 100}}, "more": {**entry, "OPTIONS": {"block_bytes": 200}}}
    assert found(CACHES=two) == ["ferrokv.E007"]
    two["default"]["OPTIONS"] = {}
    assert found(CACHES=two) == ["ferrokv.E007"], "the default is an option, too"
    two["more"]["OPTIONS"] = {"block_bytes": Options().block_bytes}
    assert found(CACHES=two) == []


@pytest.mark.parametrize(
    "options",
    [
        {"NONSENSE": 5},
        {"MAX_BYTES": "1G"},
        {"MAX_BYTES": -1},
        {"MAX_BYTES": 0},
        {"MAX_BYTES": True},
        {"block_bytes": 0},
        {"block_bytes": "4k"},
        {"busy_timeout": None},
        {"COMPRESSOR": "zlib", "COMPRESSOR_MIN_BYTES": "1k"},
        {"COMPRESSOR": "zlib", "COMPRESSOR_MIN_BYTES": -1},
        {"KEYSPACE": ""},
        {"KEYSPACE": 5},
        "all",
        {"SERIALIZER": "yaml"},
        {"REVERSE_KEY_FUNCTION": "no.such"},
    ],
    ids=str,
)
def test_options_that_can_not_be_used(safe: Path, options: Any) -> None:
    assert "ferrokv.E005" in found({"LOCATION": safe / "store", "OPTIONS": options})
    cache = FerroKVCache(safe / "store", {"OPTIONS": options})
    for _ in range(2):
        with pytest.raises(ImproperlyConfigured) as caught:
            cache.set("k", 1)
        assert str(caught.value) == str(cache.problem)
    with pytest.raises(AttributeError):
        assert cache.no_such_method
    assert not (safe / "store").exists()


WRONG_ENTRIES: dict[str, tuple[dict[str, Any], str, str]] = {
    "no location": ({}, "E001", 'is missing or empty. LOCATION is the directory of the store, as in BASE_DIR / "var"'),
    "a server": ({"LOCATION": "redis://127.0.0.1:6379/1"}, "E001", "ferrokv needs no server"),
    "several": ({"LOCATION": ["a", "b"]}, "E001", "is ['a', 'b']. LOCATION is the directory"),
    "another backend": ({"LOCATION": "unknown://host"}, "E005", "no backend for unknown://"),
    "a keyspace": ({"LOCATION": "{}", "OPTIONS": {"KEYSPACE": "sessions"}}, "E004", "where ferrokv keeps sessions"),
    "an option": (
        {"LOCATION": "{}", "OPTIONS": {"NONSENSE": 1}},
        "E005",
        "unknown OPTIONS of a FerroKVCache: NONSENSE",
    ),
    "django-redis": (
        {"LOCATION": "{}", "OPTIONS": {"CLIENT_CLASS": "x", "SOCKET_TIMEOUT": 5, "DB": 1}},
        "E005",
        "here: CLIENT_CLASS (the cache has django-redis's methods itself), DB (use KEYSPACE), SOCKET_TIMEOUT (use busy_",
    ),
    "a class": ({"LOCATION": "{}", "OPTIONS": {"SERIALIZER": "no.such.Class"}}, "E005", "no"),
}


@pytest.mark.parametrize("name", WRONG_ENTRIES)
def test_manage_py_check_says_what_is_wrong_with_an_entry_and_prints_no_traceback(tmp_path: Path, name: str) -> None:
    """Django's own checks make every cache before ours run."""
    entry, number, said = WRONG_ENTRIES[name]
    entry = {key: str(tmp_path / "store") if value == "{}" else value for key, value in entry.items()}
    (tmp_path / "wrong_settings.py").write_text(
        'SECRET_KEY = "x"\nINSTALLED_APPS = ["ferrokv.contrib.django", "django.contrib.sessions"]\n'
        f"CACHES = {{'default': {{'BACKEND': {BACKEND!r}, **{entry!r}}}}}\n"
    )
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}", "DJANGO_SETTINGS_MODULE": "wrong_settings"}
    command = [sys.executable, "-m", "django", "check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert f"(ferrokv.{number}) CACHES['default'] " in done.stderr
    assert said in done.stderr
    assert "HINT: " in done.stderr


def test_odd_settings_do_not_break_the_checks(safe: Path) -> None:
    location = {"LOCATION": safe / "store"}
    assert found({**location, "OPTIONS": None}) == []
    for wrong in (None, 5, b""):
        assert "ferrokv.E001" in found({"LOCATION": wrong})
    assert found(location, STATICFILES_DIRS=None, MEDIA_ROOT=bytes(safe)) == ["ferrokv.E002"]
    assert found(location, STATICFILES_DIRS=[(), 5, None], STATIC_ROOT=5) == []
    entry = {"BACKEND": BACKEND, **location}
    assert found(CACHES={"default": {"BACKEND": "no.such.Cache"}, "a": {}, "b": entry}) == []
    with override_settings(CACHES={"default": {"BACKEND": "no.such.Cache"}, "b": entry}):
        assert session_location().path == str(safe / "store")


def test_a_quota_on_the_sessions_is_found_at_deployment(safe: Path) -> None:
    with configured(safe / "store"):
        SessionStore().save()
        assert found(deploy=True) == []
        with BlockingFerroKV.open(safe / "store", keyspace="sessions") as db:
            db.set_quota(1_000_000)
        assert found(deploy=True) == ["ferrokv.E003"]
        assert found() == []
    assert found({"LOCATION": safe / "none"}, deploy=True) == []


@pytest.fixture
def cache(safe: Path) -> Iterator[Any]:
    with configured(safe / "store", {"other": {"KEYSPACE": "other"}}) as made:
        made.set_many({f"k{i}": "v" * 100 for i in range(500)})
        yield made


def call(command: str, *arguments: str) -> tuple[str, str]:
    """What a command says on stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    call_command(command, *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def test_stats(cache: Any) -> None:
    SessionStore().save()
    out, _ = call("ferrokv_stats")
    assert "keyspace           cache: 500 keys" in out
    assert "sessions: 1 keys" in out
    facts = json.loads(call("ferrokv_stats", "--json")[0])
    assert facts["keyspaces"]["cache"]["keys"] == 500
    assert facts["processes"][0]["pid"] == os.getpid()
    assert json.loads(call("ferrokv_stats", "--json", "--fast")[0])["keyspaces"] == {"cache": None, "sessions": None}


def test_clear(cache: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    caches["other"].set("k", 1)
    monkeypatch.setattr("builtins.input", lambda question: "n")
    with pytest.raises(CommandError, match="Nothing was cleared"):
        call("ferrokv_clear")
    assert cache.get("k0") is not None
    monkeypatch.setattr("builtins.input", lambda question: "yes")
    assert "is empty" in call("ferrokv_clear")[1]
    assert cache.get("k0") is None
    assert caches["other"].get("k") == 1
    assert "is empty" in call("ferrokv_clear", "--alias", "other", "--noinput")[1]
    assert caches["other"].get("k") is None


def test_compact(cache: Any) -> None:
    cache.delete_many([f"k{i}" for i in range(500)])
    assert "bytes of tables before" in call("ferrokv_compact")[1]
    assert sum(level.records for level in cache._location.blocking.stats().levels) < 20


def test_backup_and_verify(cache: Any, safe: Path) -> None:
    assert "no damage" in call("ferrokv_verify")[1]
    cache._location.blocking.flush()
    assert "records" in call("ferrokv_backup", str(safe / "copy"))[1]
    with BlockingFerroKV.open(safe / "copy", keyspace="cache") as db:
        assert db.dbsize() == 500
    with pytest.raises(CommandError, match="store"):
        call("ferrokv_backup", str(safe / "copy"))
    table = next((safe / "store").glob("table-*.sst"))
    data = bytearray(table.read_bytes())
    data[100] ^= 1
    table.write_bytes(data)
    with pytest.raises(CommandError, match="damaged") as raised:
        call("ferrokv_verify")
    assert raised.value.returncode == 3


def test_aliases_that_are_none_of_ours(safe: Path) -> None:
    locmem = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    with override_settings(CACHES=locmem):
        for command in ("ferrokv_stats", "ferrokv_compact", "ferrokv_verify", "ferrokv_clear"):
            with pytest.raises(CommandError, match="not a FerroKVCache"):
                call(command)
            with pytest.raises(CommandError, match="nope"):
                call(command, "--alias", "nope")
    with configured(safe / "none"):
        with pytest.raises(CommandError, match="none"):
            call("ferrokv_stats")
        close_store(safe / "none")


PROGRAM = """
import sys, django
from django.conf import settings
from django.core.management import execute_from_command_line
entry = {"BACKEND": "ferrokv.contrib.django.FerroKVCache", "LOCATION": sys.argv[1]}
settings.configure(SECRET_KEY="tests", CACHES={"default": entry}, INSTALLED_APPS=["ferrokv.contrib.django"])
django.setup()
execute_from_command_line(["manage.py", *sys.argv[2:]])
"""


def test_a_terminal_sees_progress_and_a_pipe_does_not(cache: Any, safe: Path) -> None:
    cache._location.blocking.flush()
    command = [sys.executable, "-c", PROGRAM, str(safe / "store"), "ferrokv_verify"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "100"}
    piped = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert piped.stdout == ""
    assert "Verifying" not in piped.stderr
    master, slave = pty.openpty()
    subprocess.run(
        command, env=environment, stderr=slave, stdin=slave, stdout=subprocess.DEVNULL, timeout=60, check=True
    )
    os.close(slave)
    seen = b""
    try:
        while chunk := os.read(master, 65536):
            seen += chunk
    except OSError:  # the other end is closed
        os.close(master)
    assert b"Verifying" in seen
    assert b"no damage" in seen


def test_without_rich_the_commands_say_the_same(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stores, "find_spec", lambda name: None)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with stores.progress("Checking") as report:
        report(1, 2)
    with stores.spinner("Compacting"):
        assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "entry", [{}, {"LOCATION": "/nowhere", "OPTIONS": "abc"}, {"LOCATION": "/nowhere", "OPTIONS": {"N": 1}}]
)
def test_commands_say_what_is_wrong_with_an_entry(entry: dict[str, Any]) -> None:
    with (
        override_settings(CACHES={"default": {"BACKEND": BACKEND, **entry}}),
        pytest.raises(CommandError, match=r"CACHES\['default'\] cannot be used: "),
    ):
        call_command("ferrokv_stats")
