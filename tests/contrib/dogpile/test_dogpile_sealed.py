"""dogpile.cache values that are sealed: what a forger of files cannot do."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
from dogpile.cache import make_region
from dogpile.cache.api import NO_VALUE

from ferrokv import BlockingFerroKV


class Bomb:
    """Unpickling this is an attack that succeeded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("unpickled without a valid seal",))


def region_on(path: Path, **arguments: Any) -> Any:
    return make_region().configure("ferrokv", arguments={"path": str(path), **arguments})


def test_values_come_back_and_a_forged_one_is_made_anew(store_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    region = region_on(store_path, secret_keys="secret")
    region.set("k", {"a": (1, {2})})
    assert region.get("k") == {"a": (1, {2})}
    region.set("n", 5)
    assert region.get("n") == 5
    with BlockingFerroKV.open(store_path, keyspace="dogpile") as db:
        stored = db.get("k")
        assert stored is not None
        metadata = stored.partition(b"|")[0]
        db.set("forged", metadata + b"|" + pickle.dumps(Bomb()))
        db.set("changed", stored[:-1] + b"?")
    assert region.get("forged") is NO_VALUE
    assert region.get_multi(["k", "forged", "changed"])[1:] == [NO_VALUE, NO_VALUE]
    assert region.get_or_create("forged", lambda: "made anew") == "made anew"
    assert "no valid seal" in caplog.text


def test_keys_can_be_replaced(store_path: Path) -> None:
    old = region_on(store_path, secret_keys=[b"old"])
    old.set("k", 1.5)
    both = region_on(store_path, secret_keys=["new", b"old"])
    assert both.get("k") == 1.5
    new = region_on(store_path, secret_keys=["new"])
    assert new.get("k") is NO_VALUE


@pytest.mark.parametrize("keys", ["", [], ["good", ""]])
def test_empty_keys_are_refused(store_path: Path, keys: Any) -> None:
    with pytest.raises(ValueError, match="none of them empty"):
        region_on(store_path, secret_keys=keys)
