"""A store that is closed, or inherited by a forked child, while others use it."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from ferrokv import BlockingFerroKV, StoreClosed, WriteBatch
from ferrokv.local.faces import reader
from ferrokv.local.runtime import background, registry
from ferrokv.local.runtime import store as stores
from ferrokv.local.runtime.store import StoreState

from ..support.peer import leave_with


def child(work: Callable[[], bool]) -> int:
    """The exit code of a forked child: 0 if `work` says True."""
    pid = os.fork()
    if pid == 0:
        leave_with(lambda: 0 if work() else 1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def get_if_open(db: BlockingFerroKV) -> None:
    with suppress(StoreClosed):
        db.get("k")


class SlowOpening:
    """Openings that wait for `go`, from now on."""

    def __init__(self) -> None:
        self.began, self.go = threading.Event(), threading.Event()
        self._open = stores.open_engine
        stores.open_engine = self  # type: ignore[assignment]

    def __call__(self, *args: Any) -> Any:
        self.began.set()
        assert self.go.wait(30)
        return (yield from self._open(*args))


def test_the_states_can_be_read(store_path: Path) -> None:
    db = BlockingFerroKV.open(store_path)
    store = db._store
    assert store.state is StoreState.OPEN

    def inherited() -> bool:
        before = store.state
        db.get("k")
        return (before, store.state) == (StoreState.INHERITED, StoreState.OPEN)

    assert child(inherited) == 0
    db.close()
    assert store.state is StoreState.CLOSED
    with pytest.raises(StoreClosed):
        assert store.engine
    with pytest.raises(AttributeError):
        assert store.no_such_part


def test_a_store_that_is_closed_while_another_thread_opens_it_stays_closed(store_path: Path) -> None:
    db = BlockingFerroKV.open(store_path)
    db.set("k", "v")

    def work() -> bool:
        store = db._store
        slow = SlowOpening()
        first = threading.Thread(target=get_if_open, args=(db,), daemon=True)
        first.start()
        assert slow.began.wait(30)
        threading.Timer(0.1, slow.go.set).start()
        db.close()
        first.join(30)
        left = [thread.name for thread in threading.enumerate() if thread.name.startswith("ferrokv-")]
        return store.state is StoreState.CLOSED and store not in registry.opened() and left == []

    assert child(work) == 0
    assert db.get("k") == b"v"
    db.close()


def test_an_opening_that_can_start_no_thread_leaves_none_and_the_next_one_works(store_path: Path) -> None:
    db = BlockingFerroKV.open(store_path)
    db.set("k", "v")

    def work() -> bool:
        start = background.Background.start

        def refuse(*args: Any, **kwargs: Any) -> None:
            raise RuntimeError("can't start new thread")

        background.Background.start = refuse  # type: ignore[method-assign]
        with pytest.raises(RuntimeError, match="new thread"):
            db.get("k")
        assert db._store.state is StoreState.INHERITED
        background.Background.start = start  # type: ignore[method-assign]
        assert db.get("k") == b"v"
        assert db.set("k", "w")
        names = [thread.name for thread in threading.enumerate()]
        return names.count("ferrokv-writer") == 1

    assert child(work) == 0
    db.close()


def test_an_open_store_does_not_wait_for_another_that_is_being_opened(store_path: Path, tmp_path: Path) -> None:
    db, other = BlockingFerroKV.open(store_path), BlockingFerroKV.open(tmp_path / "other")
    other.set("k", "v")

    def work() -> bool:
        other.get("k")
        slow = SlowOpening()
        first = threading.Thread(target=db.get, args=("k",))
        first.start()
        assert slow.began.wait(30)
        got: list[object] = []
        second = threading.Thread(target=lambda: got.append((other._store.pool, other.get("k"))), daemon=True)
        second.start()
        second.join(20)
        slow.go.set()
        first.join(30)
        return len(got) == 1

    assert child(work) == 0
    db.close()
    other.close()


def test_two_threads_may_close_one_handle(store_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    db = BlockingFerroKV.open(store_path)
    refuse = reader.refuse_reentry
    once = [True]

    def close_in_between() -> None:
        refuse()
        if once:
            once.clear()
            other = threading.Thread(target=db.close)
            other.start()
            other.join()

    monkeypatch.setattr(reader, "refuse_reentry", close_in_between)
    db.close()
    assert once == []
    db.close()


@pytest.mark.parametrize("forgiving", [False, True])
def test_a_deferral_of_a_store_that_was_closed_tells_only_of_what_was_lost(
    store_path: Path, forgiving: bool, caplog: pytest.LogCaptureFixture
) -> None:
    db = BlockingFerroKV.open(store_path)
    db.set("k", "v")
    nothing, reads, writes = db.deferral(), db.deferral(), db.deferral()
    assert db.within(reads).get("k") == b"v"
    db.within(writes, forgiving=forgiving).write(WriteBatch().set("k", "w"))
    db.close()
    for deferral in (nothing, reads):
        deferral.close()
        deferral.settle()
    writes.close()
    if forgiving:
        with caplog.at_level(logging.WARNING, "ferrokv.deferral"):
            writes.settle()
        assert "ignored" in caplog.text
    else:
        with pytest.raises(StoreClosed):
            writes.settle()
