"""What a program is told that uses a handle in a wrong way: what to write instead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ferrokv import BlockingFerroKV, FerroKV, StoreBusy


def test_handles_say_where_they_are(store_path: Path) -> None:
    waiting = BlockingFerroKV(store_path, keyspace="é")
    assert repr(waiting) == f"<BlockingFerroKV path={str(store_path)!r} keyspace='é' not open yet>"
    assert not store_path.exists()
    with BlockingFerroKV.open(store_path) as db:
        assert repr(db) == f"<BlockingFerroKV path={str(store_path)!r} keyspace='default' open>"
        snapshot = db.snapshot()
        assert repr(snapshot) == f"<BlockingSnapshot path={str(store_path)!r} keyspace='default' open>"
        snapshot.close()
        assert repr(snapshot) == "<BlockingSnapshot keyspace='default' closed>"
        with db.deferral() as deferral:
            assert "DeferredCommands" in repr(db.within(deferral))
    assert repr(db) == "<BlockingFerroKV keyspace='default' closed>"
    assert repr(FerroKV(store_path)).endswith("keyspace='default' not open yet>")


def test_an_opening_that_is_not_awaited_says_so(store_path: Path) -> None:
    opening: Any = FerroKV.open(store_path)
    with pytest.raises(AttributeError, match=r"write `db = await FerroKV.open\(...\)` before using 'get'"):
        opening.get("k")
    with pytest.raises(TypeError, match="write `async with"), opening:
        pass
    assert not hasattr(opening, "__len__")


def test_a_handle_inside_a_transaction_is_pointed_to_the_argument(db: BlockingFerroKV) -> None:
    with pytest.raises(StoreBusy, match="inside `transaction`, use the function's argument"):
        db.transaction(lambda tx: db.set("k", 1))
    with db.deferral() as deferral:
        mine = db.within(deferral)
        with pytest.raises(StoreBusy, match="inside `transaction`, use the function's argument"):
            mine.transaction(lambda tx: mine.incr("k"))
    assert db.get("k") is None
