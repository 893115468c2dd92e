"""Listings that race with others: a name may be gone before its size was looked at, on every storage."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ferrokv import BlockingFerroKV
from ferrokv.local.format.control import COMPACTOR
from ferrokv.local.storage.directory import prepare_directory
from ferrokv.local.storage.local import LocalStorage
from ferrokv.local.storage.requests import ListDirectory, Open, Remove
from ferrokv.testing.simulated import SimulatedStorage


@pytest.fixture
def vanishing(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names that are removed in the middle of each listing, after they were read."""
    names: list[str] = []
    scandir = os.scandir

    @contextmanager
    def racing(fd: int) -> Iterator[Any]:
        with scandir(fd) as found:
            entries = list(found)
        for entry in entries:
            if entry.name in names:
                os.unlink(entry.name, dir_fd=fd)
        yield iter(entries)

    monkeypatch.setattr("ferrokv.local.storage.local.os.scandir", racing)
    return names


def test_a_local_listing_passes_over_what_vanishes(store_path: Path, vanishing: list[str]) -> None:
    storage = LocalStorage(prepare_directory(store_path))
    try:
        for name in ("a", "b", "c"):
            storage.perform(Open(name, create=True)).close()
        vanishing.append("b")
        assert storage.perform(ListDirectory()) == {"a": 0, "c": 0}
    finally:
        storage.close()


def test_a_simulated_listing_does_so_too() -> None:
    storage = SimulatedStorage(1)
    other = SimulatedStorage(2, shares=storage)
    for name in ("a", "b", "c"):
        storage.perform(Open(name, create=True))
    pauses: list[int] = []

    def others_go_on() -> None:
        pauses.append(1)
        if len(pauses) == 2:  # the first is before the request
            other.perform(Remove("b"))
            other.perform(Open("d", create=True))

    storage.on_pause = others_go_on
    assert storage.perform(ListDirectory()) == {"a": 0, "c": 0}


def test_work_that_lists_goes_on_while_another_process_leaves(store_path: Path, vanishing: list[str]) -> None:
    """The lock file of a process goes while the manifest is rolled, the directory verified and copied."""
    with BlockingFerroKV.open(store_path) as db:
        for step in (db.verify, db.flush, db.compact, lambda: db.backup(store_path.with_name("copy"))):
            gone = store_path / "process-0123456789abcdef.lock"
            gone.touch(mode=0o600)
            vanishing[:] = [gone.name]
            db.set("key", "value")
            db._store.engine.words[COMPACTOR] = 1  # somebody died at it, so that the next one cleans up
            step()
        assert db.verify().ok
        assert db.get("key") == b"value"
