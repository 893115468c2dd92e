"""Tens of thousands of keyspaces: what a catalogue costs grows with them, and not with their square."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from ferrokv.local.compaction.survivors import Survivors
from ferrokv.local.format.commits import Entry
from ferrokv.local.format.keys import CATALOGUE_NAMES, CATALOGUE_QUOTAS, encode_keyspace_id, encode_prefix, encode_quota
from ferrokv.local.log import load
from ferrokv.local.tree.view import Catalogue, catalogue_after
from ferrokv.testing.simulated import SimulatedStorage

from ..support.harness import EngineHarness, ManualClock

COUNT = 2_000


class Counted(Mapping[str, Any]):
    """A mapping that knows how often all of it was gone through."""

    def __init__(self, inner: dict[str, Any]) -> None:
        self.inner = inner
        self.passes = 0

    def __getitem__(self, key: str) -> Any:
        return self.inner[key]

    def __iter__(self) -> Iterator[str]:
        self.passes += 1
        return iter(self.inner)

    def __len__(self) -> int:
        return len(self.inner)


def catalogue_of(count: int) -> Catalogue:
    return Catalogue({f"name:{i}": encode_prefix(i + 1) for i in range(count)}, count + 1, {})


def test_a_commit_that_makes_many_keyspaces_copies_the_catalogue_once() -> None:
    old = catalogue_of(COUNT)
    prefixes, quotas = Counted(dict(old.prefixes)), Counted({"name:1": 5, "name:2": 6})
    entries: dict[bytes, Entry] = {}
    for i in range(COUNT):
        entries[CATALOGUE_NAMES + b"new:%d" % i] = (encode_keyspace_id(COUNT + 1 + i), 0, 1, None)
        entries[CATALOGUE_QUOTAS + b"new:%d" % i] = (encode_quota(i), 0, 1, None)
    entries[CATALOGUE_QUOTAS + b"name:1"] = (encode_quota(0), 0, 1, None)
    new = catalogue_after(Catalogue(prefixes, COUNT + 1, quotas), entries)
    assert (prefixes.passes, quotas.passes) == (1, 1)
    assert len(new.prefixes) == 2 * COUNT
    assert new.prefixes["new:7"] == encode_prefix(COUNT + 8)
    assert new.next_id == 2 * COUNT + 1
    assert new.quotas == {"name:2": 6} | {f"new:{i}": i for i in range(1, COUNT)}


def test_opening_makes_the_catalogue_in_one_go(monkeypatch: pytest.MonkeyPatch) -> None:
    storage = SimulatedStorage(1)
    store = EngineHarness(storage, ManualClock())
    for i in range(300):  # more than fit into a page of the merge
        store.keyspace = f"keyspace:{i}"
        store.set(b"key", b"%d" % i)
    store.rotate()
    store.flush()
    calls: list[int] = []

    def counting(catalogue: Catalogue, entries: Mapping[bytes, Entry]) -> Catalogue:
        calls.append(len(entries))
        return catalogue_after(catalogue, entries)

    monkeypatch.setattr(load, "catalogue_after", counting)
    again = store.reopen()
    assert calls == [301], "300 names and the next id"
    again.keyspace = "keyspace:123"
    assert again.get(b"key") == b"123"


def test_deciding_what_survives_goes_through_the_keyspaces_once() -> None:
    old = catalogue_of(COUNT)
    prefixes = Counted({name: prefix for name, prefix in old.prefixes.items() if name != "name:70"})
    survivors = Survivors(0, Catalogue(prefixes, COUNT + 1, {}))
    passes = prefixes.passes
    for i in range(COUNT):
        key = encode_prefix(i + 1) + b"key"
        assert survivors.dead_range(key, key) == (i == 70)
        assert survivors.of(([key], [(b"value", 0, 1, None)]), bottom=True)[0] == ([] if i == 70 else [key])
    assert not survivors.dead_range(encode_prefix(COUNT + 1), encode_prefix(COUNT + 5)), "made since"
    assert not survivors.dead_range(encode_prefix(70), encode_prefix(72))
    assert prefixes.passes == passes <= 1
