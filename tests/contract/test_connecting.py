"""Choosing a backend by location."""

from __future__ import annotations

from pathlib import Path

import pytest

from ferrokv import BlockingFerroKV, DataError, FerroKV, connect, connect_blocking, register_backend

from .memory import AsyncMemoryStore, MemoryBackend, MemoryStore


def test_a_path_is_a_directory_of_this_machine(tmp_path: Path) -> None:
    for location in (tmp_path / "s", str(tmp_path / "s"), f"ferrokv://{tmp_path}/s", f"FERROKV://{tmp_path}/s"):
        with connect_blocking(location) as db:
            assert isinstance(db, BlockingFerroKV)
            db.incr("n")
    assert isinstance(connect(tmp_path / "s"), FerroKV)
    with BlockingFerroKV.open(tmp_path / "s") as db:
        assert db.get("n") == b"4"


def test_nothing_is_opened_before_it_is_used(tmp_path: Path) -> None:
    connect_blocking(tmp_path / "s")
    connect(tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_a_url_carries_options(tmp_path: Path) -> None:
    url = f"ferrokv://{tmp_path}/a%20b?keyspace=pages&max_bytes=1048576&busy_timeout=2.5&level0_tables=3"
    with connect_blocking(url) as db:
        db.set("a", 1)
        assert db.stats().quotas == {"pages": 1 << 20}
    assert (tmp_path / "a b").is_dir()
    with connect_blocking(f"ferrokv://{tmp_path}/a%20b?read_only=1", keyspace="pages") as db:
        assert db.get("a") == b"1"
        with pytest.raises(Exception, match="read only"):
            db.set("a", 2)


@pytest.mark.parametrize(
    ("location", "why"),
    [
        ("", "path or a URL"),
        ("reddis://host", "no backend for reddis://"),
        ("ferrokv://srv/cache", "ferrokv:///srv/cache"),
        ("ferrokv://", "absolute directory"),
        ("ferrokv:///", "absolute directory"),
        ("ferrokv:///srv/cache#x", "absolute directory"),
        ("ferrokv:///srv/cache?colour=1", "unknown option in the URL: colour"),
        ("ferrokv:///srv/cache?max_bytes=much", "not a number"),
        ("ferrokv:///srv/cache?read_only=yes", "read_only is 0 or 1"),
        ("my_scheme://x", "neither a path nor a URL"),
        ("ferrokv:///srv/cache?level0_tables=0", "out of range"),
    ],
)
def test_a_wrong_location_is_refused_at_once(location: str, why: str) -> None:
    for make in (connect, connect_blocking):
        with pytest.raises(DataError, match=why):
            make(location)


def test_an_option_is_given_once(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="given twice: keyspace"):
        connect(f"ferrokv://{tmp_path}/s?keyspace=a", keyspace="a")
    with pytest.raises(DataError, match="given twice: keyspace"):
        connect(f"ferrokv://{tmp_path}/s?keyspace=a&keyspace=b")


def test_what_is_no_path_is_refused() -> None:
    for wrong in (5, None, b"bytes"):
        with pytest.raises((DataError, TypeError)):
            connect(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("scheme", ["", "my_scheme", "ferrokv", "FERROKV", "a b", "x://"])
def test_a_backend_needs_a_scheme_of_its_own(scheme: str) -> None:
    with pytest.raises(DataError, match="cannot have this scheme"):
        register_backend(scheme, MemoryBackend())


def test_another_backend_can_be_registered() -> None:
    register_backend("memory", MemoryBackend())
    assert isinstance(connect("memory://x"), AsyncMemoryStore)
    with pytest.raises(DataError, match="ferrokv://, memory://"):
        connect("other://x")
    one, two = connect_blocking("memory://x"), connect_blocking("memory://x", keyspace="k")
    assert isinstance(one, MemoryStore)
    one.set("a", 1)
    assert two.get("a") is None
    assert connect_blocking("memory://x").get("a") == b"1"
