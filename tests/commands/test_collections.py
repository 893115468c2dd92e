"""Collections inside the engine: what is left of dead ones, what snapshots, reopenings and power cuts see of living ones."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ferrokv import BlockingFerroKV, DataError, Tx
from ferrokv.errors import ResponseError
from ferrokv.local.commands import expiry, hashes, keys, lists, sets, sorted_sets, strings
from ferrokv.local.faces.pipelines import run_function
from ferrokv.local.format.keys import KIND_ELEMENT, KIND_OWNER
from ferrokv.local.log.transaction import Group, Transaction
from ferrokv.local.storage.drivers import complete
from ferrokv.local.tree.records import ViewRecords
from ferrokv.local.tree.view import View
from ferrokv.testing.simulated import SimulatedStorage

from ..support.harness import SCALE, EngineHarness, ManualClock

Model = dict[bytes, tuple[Any, int]]
"""key -> (bytes, list, dict or set; a dict of floats for a sorted set, as tuple ("z", dict)), expires_ms"""


def ask(store: EngineHarness, command: Any, *args: Any, view: View | None = None) -> Any:
    """The answer of a reading command."""
    own = None if view else store.pin()
    records = ViewRecords(view or own, store.keyspace, store.clock)  # type: ignore[arg-type]
    answer = complete(command(records, *args), store.storage)
    if own is not None:
        own.unpin()
    return answer


def content(store: EngineHarness, key: bytes, view: View | None = None) -> Any:
    """What a key holds, as the model has it."""
    kind = ask(store, keys.type_of, key, view=view)
    if kind == b"string":
        return ask(store, strings.get, key, view=view)
    if kind == b"list":
        return ask(store, lists.slice_of, key, 0, -1, view=view)
    if kind == b"hash":
        return ask(store, hashes.get_all, key, view=view)
    if kind == b"set":
        return ask(store, sets.members_of, key, view=view)
    if kind == b"zset":
        pairs = ask(store, sorted_sets.all_scores, key, view=view)
        assert ask(store, sorted_sets.length, key, view=view) == len(pairs)
        by_score = ask(store, sorted_sets.span_of, key, sorted_sets.Span.everything(), view=view)
        assert by_score == sorted(pairs, key=lambda pair: (pair[1], pair[0]))
        return ("z", dict(pairs))
    return None


def parts(store: EngineHarness) -> Counter[bytes]:
    """How many records of each kind the store has, tombstones left out."""
    view = store.pin()
    scan = ViewRecords(view, store.keyspace, lambda: 0).scan(b"\0\0\0\1", None)
    found: Counter[bytes] = Counter()
    while (page := complete(scan.next_page(4), store.storage)) is not None:
        found.update(key[:1] for key, _ in page)
    view.unpin()
    return found


@pytest.fixture
def store() -> EngineHarness:
    return EngineHarness(SimulatedStorage(1), ManualClock())


def test_compaction_drops_what_belonged_to_a_deleted_list(store: EngineHarness) -> None:
    store.write(lists.push, b"gone", [b"%d" % i for i in range(300)], False, False)
    store.write(lists.push, b"stays", [b"a", b"b"], False, False)
    store.rotate()
    store.flush()
    bytes_before = store.engine.view.version.level_bytes(0)
    appended = store.engine.appended.end
    assert store.delete(b"gone") == 1
    assert store.engine.appended.end - appended < 200, "deleting a list is one record, whatever its length"
    assert parts(store)[KIND_ELEMENT] == 302
    store.rotate()
    store.flush()
    store.compact(everything=True)
    assert parts(store) == {b"k": 1, KIND_OWNER: 1, KIND_ELEMENT: 2}
    assert sum(store.engine.view.version.level_bytes(level) for level in range(7)) < bytes_before // 10
    assert content(store, b"stays") == [b"a", b"b"]
    store.check()


@pytest.mark.parametrize("how", ["overwritten", "renamed over", "expired", "emptied", "cleared", "stored over"])
def test_compaction_drops_a_collection_that_is_gone_in_any_way(store: EngineHarness, how: str) -> None:
    store.write(hashes.set_fields, b"h", [(b"f%d" % i, b"v") for i in range(50)])
    store.write(sets.add, b"other", [b"m"])
    store.rotate()
    store.flush()
    if how == "overwritten":
        store.set(b"h", b"string")
    elif how == "renamed over":
        store.write(keys.rename, b"other", b"h")
    elif how == "expired":
        store.write(expiry.expire, b"h", 1000, (False,) * 4, "pexpire")
        store.clock.now_ms += 3_600_000
    elif how == "emptied":
        store.write(hashes.delete_fields, b"h", [b"f%d" % i for i in range(50)])
    elif how == "cleared":
        store.write(keys.clear)
        store.write(sets.add, b"other", [b"m"])
    else:
        store.write(sets.store, b"h", "union", [b"other"])
    store.rotate()
    store.flush()
    store.compact(everything=True)
    store.rotate() if store.engine.view.active.entries else None
    store.set(b"x", b"")  # an expired root is dropped by one compaction, its elements by the next
    store.rotate()
    store.flush()
    store.compact(everything=True)
    left = parts(store)
    assert left[KIND_ELEMENT] == left[KIND_OWNER] == (2 if how == "stored over" else 1)
    store.check()


def test_renaming_and_copying_keep_their_own_elements(store: EngineHarness) -> None:
    store.write(lists.push, b"a", [b"1", b"2"], False, False)
    store.write(keys.rename, b"a", b"b")
    store.write(keys.copy, b"b", b"c", False)
    store.write(lists.push, b"a", [b"new"], False, False)
    store.write(lists.pop_one, b"c", True)
    for _ in range(2):
        store.rotate()
        store.flush()
        store.compact(everything=True)
        assert content(store, b"a") == [b"new"]
        assert content(store, b"b") == [b"1", b"2"]
        assert content(store, b"c") == [b"2"]
        store = store.reopen()
        store.set(b"more", b"")
    store.delete(b"b")
    store.write(keys.rename, b"c", b"b")
    store.rotate()
    store.flush()
    store.compact(everything=True)
    assert content(store, b"b") == [b"2"]
    assert parts(store) == {b"k": 3, KIND_OWNER: 2, KIND_ELEMENT: 2}


def test_a_snapshot_keeps_a_collection_that_is_changed_deleted_and_compacted(store: EngineHarness) -> None:
    members = [(b"m%03d" % i, float(i)) for i in range(100)]
    store.write(sorted_sets.add, b"z", members, sorted_sets.AddOptions())
    store.rotate()
    store.flush()
    view = store.pin()
    store.write(sorted_sets.add, b"z", [(b"m000", 500.0), (b"new", 1.0)], sorted_sets.AddOptions())
    store.delete(b"z")
    store.rotate()
    store.flush()
    store.compact(everything=True)
    assert content(store, b"z") is None
    assert content(store, b"z", view) == ("z", dict(members))
    span = sorted_sets.Span.by_score(b"(10", b"20", reverse=True)
    assert [score for _, score in ask(store, sorted_sets.span_of, b"z", span, view=view)] == list(range(20, 10, -1))
    view.unpin()


def test_tables_of_a_deleted_list_are_dropped_unread_after_a_later_flush(store: EngineHarness) -> None:
    for i in range(0, 2000, 40):
        store.write(lists.push, b"long", [b"%d" % n for n in range(i, i + 40)], False, False)
    store.rotate()
    store.flush()
    store.compact(everything=True)
    tables = sum(len(level) for level in store.engine.view.version.levels)
    assert tables > 10
    store.delete(b"long")
    dropped = store.engine.counters.tables_dropped_unread
    for _ in range(tables):  # some are looked at after each flush
        store.set(b"z", b"")
        store.rotate()
        store.flush()
        store.compact()
    assert store.engine.counters.tables_dropped_unread - dropped > tables // 2
    assert parts(store)[KIND_ELEMENT] == 0
    store.check()


def test_an_expired_list_goes_from_disk_without_being_touched(store: EngineHarness) -> None:
    store.write(lists.push, b"long", [b"%d" % n for n in range(200)], False, False)
    store.expire(b"long", 1000)
    store.rotate()
    store.flush()
    store.compact(everything=True)
    store.clock.now_ms += 3_600_000
    for _ in range(40):
        store.set(b"z", b"")
        store.rotate()
        store.flush()
        store.compact()
    assert parts(store)[KIND_ELEMENT] == 0


def test_elements_of_a_lately_expired_list_stay_while_a_clock_may_go_back(store: EngineHarness) -> None:
    store.write(lists.push, b"long", [b"a", b"b"], False, False)
    store.expire(b"long", 1000)
    store.rotate()
    store.flush()
    store.clock.now_ms += 60_000
    store.compact(everything=True)
    assert content(store, b"long") is None
    store.clock.now_ms -= 60_000
    assert content(store, b"long") == [b"a", b"b"]


@pytest.mark.parametrize("size", [65_535, 65_536])
def test_the_longest_field_and_member_are_kept_and_a_longer_one_refused(db: BlockingFerroKV, size: int) -> None:
    name = b"m" * size
    if size > 65_535:
        for call in (lambda: db.hset("h", name, 1), lambda: db.sadd("s", name), lambda: db.zadd("z", {name: 1})):
            with pytest.raises(DataError, match="at most 65535 bytes"):
                call()
        assert db.keys() == []
        return
    db.hset("h", name, 1)
    db.zadd("z", {name: 1.5, b"": 2})
    db.compact()
    assert db.hgetall("h") == {name: b"1"}
    assert db.zrange("z", 0, -1, withscores=True) == [(name, 1.5), (b"", 2.0)]


def test_a_transaction_reads_the_newest_of_all_layers(store: EngineHarness) -> None:
    """Its own changes over those of the group over what others have appended over the view; forwards and backwards."""
    store.write(sorted_sets.add, b"z", [(b"view", 1.0), (b"twice", 1.0), (b"gone", 1.0)], sorted_sets.AddOptions())
    with store.writing():
        group = Group(store.engine)
        group.run(run_function, "default", (lambda tx: (tx.zadd("z", {"group": 2, "twice": 2}), tx.zrem("z", "gone")),))

        def read(tx: Tx) -> Any:
            tx.zadd("z", {"own": 3, "twice": 3})
            return tx.zrange("z", 0, -1, withscores=True), tx.zrange("z", 0, -1, desc=True), tx.zscore("z", "twice")

        ordered, backwards, score = group.run(run_function, "default", (read,))
    assert ordered == [(b"view", 1.0), (b"group", 2.0), (b"own", 3.0), (b"twice", 3.0)]
    assert backwards == [b"twice", b"own", b"group", b"view"]
    assert score == 3.0


def test_a_record_that_is_written_again_is_scanned_once(store: EngineHarness) -> None:
    def command(tx: Transaction) -> list[list[bytes]]:
        seen = []
        for value in (b"1", b"2"):
            tx.put(b"a", value)
            tx.put(b"b" + value, value)
            seen.append(tx.complete(keys.all_keys(tx)))
        tx.delete(b"a")
        return [*seen, tx.complete(keys.all_keys(tx))]

    assert store.write(command) == [[b"a", b"b1"], [b"a", b"b1", b"b2"], [b"b1", b"b2"]]


KEYS = st.sampled_from([b"a", b"b", b"c"])
VALUES = st.binary(max_size=30)
MEMBERS = st.sampled_from([b"", b"x", b"y", b"zz", b"\xff"])
SCORES = st.sampled_from([-1.0, 0.0, 2.5, 1e9])


class CollectionMachine(RuleBasedStateMachine):
    """The model is `self.model`. A command on another type is refused and changes nothing."""

    @initialize(seed=st.integers(0, 2**32))
    def start(self, seed: int) -> None:
        self.clock = ManualClock()
        self.store = EngineHarness(SimulatedStorage(seed), self.clock)
        self.model: Model = {}
        self.snapshots: list[tuple[View, Model]] = []

    def of(self, key: bytes, kind: type) -> Any:
        """The living content of a key if it is of the type, a new one if there is none; None if it is of another."""
        found = self.model.get(key)
        if found is None or (found[1] and found[1] <= self.clock()):
            self.model.pop(key, None)
            return kind() if kind is not tuple else ("z", {})
        return _copy(found[0]) if isinstance(found[0], kind) else None

    def run(self, key: bytes, kind: type, change: Any, command: Any, *args: Any) -> None:
        """Run a command at the store, and `change`, which gives answer and new content, at the model."""
        old = self.of(key, kind)
        expires = self.model[key][1] if key in self.model else 0
        if old is None:
            with pytest.raises(ResponseError, match="WRONGTYPE"):
                self.store.write(command, key, *args)
            return
        answer, new = change(old)
        assert self.store.write(command, key, *args) == answer
        if new if kind is not tuple else new[1]:
            self.model[key] = (new, expires)
        else:
            self.model.pop(key, None)

    @rule(key=KEYS, values=st.lists(VALUES, min_size=1, max_size=4), left=st.booleans())
    def push(self, key: bytes, values: list[bytes], left: bool) -> None:
        def change(old: list[bytes]) -> tuple[int, list[bytes]]:
            new = values[::-1] + old if left else old + values
            return len(new), new

        self.run(key, list, change, lists.push, values, left, False)

    @rule(key=KEYS, count=st.integers(1, 4), left=st.booleans())
    def pop(self, key: bytes, count: int, left: bool) -> None:
        def change(old: list[bytes]) -> tuple[list[bytes] | None, list[bytes]]:
            if not old:
                return None, old
            return (old[:count], old[count:]) if left else (old[::-1][:count], old[: max(0, len(old) - count)])

        self.run(key, list, change, lists.pop_many, count, left)

    @rule(key=KEYS, fields=st.dictionaries(MEMBERS, VALUES, min_size=1, max_size=4))
    def hset(self, key: bytes, fields: dict[bytes, bytes]) -> None:
        self.run(
            key, dict, lambda old: (len({*fields} - {*old}), {**old, **fields}), hashes.set_fields, list(fields.items())
        )

    @rule(key=KEYS, fields=st.lists(MEMBERS, min_size=1, max_size=4))
    def hdel(self, key: bytes, fields: list[bytes]) -> None:
        def change(old: dict[bytes, bytes]) -> tuple[int, dict[bytes, bytes]]:
            return len({*fields} & {*old}), {f: v for f, v in old.items() if f not in fields}

        self.run(key, dict, change, hashes.delete_fields, fields)

    @rule(key=KEYS, members=st.lists(MEMBERS, min_size=1, max_size=4))
    def sadd(self, key: bytes, members: list[bytes]) -> None:
        self.run(key, set, lambda old: (len({*members} - old), old | {*members}), sets.add, members)

    @rule(key=KEYS, members=st.lists(MEMBERS, min_size=1, max_size=4))
    def srem(self, key: bytes, members: list[bytes]) -> None:
        self.run(key, set, lambda old: (len({*members} & old), old - {*members}), sets.remove, members)

    @rule(key=KEYS, members=st.dictionaries(MEMBERS, SCORES, min_size=1, max_size=4))
    def zadd(self, key: bytes, members: dict[bytes, float]) -> None:
        def change(old: tuple[str, dict[bytes, float]]) -> tuple[int, Any]:
            return len({*members} - {*old[1]}), ("z", {**old[1], **members})

        self.run(key, tuple, change, sorted_sets.add, list(members.items()), sorted_sets.AddOptions())

    @rule(key=KEYS, count=st.integers(1, 3))
    def zpopmin(self, key: bytes, count: int) -> None:
        def change(old: tuple[str, dict[bytes, float]]) -> tuple[Any, Any]:
            ordered = sorted(old[1].items(), key=lambda pair: (pair[1], pair[0]))
            return ordered[:count], ("z", dict(ordered[count:]))

        self.run(key, tuple, change, sorted_sets.pop, count, True)

    @rule(key=KEYS, value=VALUES)
    def set(self, key: bytes, value: bytes) -> None:
        self.store.set(key, value)
        self.model[key] = (value, 0)

    @rule(key=KEYS)
    def delete(self, key: bytes) -> None:
        assert self.store.delete(key) == (key in self.live())
        self.model.pop(key, None)

    @rule(source=KEYS, destination=KEYS)
    def rename(self, source: bytes, destination: bytes) -> None:
        found = self.live().get(source)
        if found is None:
            with pytest.raises(ResponseError, match="no such key"):
                self.store.write(keys.rename, source, destination)
            return
        assert self.store.write(keys.rename, source, destination) is True
        del self.model[source]
        self.model[destination] = found

    @rule(source=KEYS, destination=KEYS)
    def copy(self, source: bytes, destination: bytes) -> None:
        found = self.live().get(source)
        if source == destination:
            with pytest.raises(ResponseError, match="are the same"):
                self.store.write(keys.copy, source, destination, True)
            return
        assert self.store.write(keys.copy, source, destination, True) is (found is not None)
        if found is not None:
            self.model[destination] = (_copy(found[0]), found[1])

    @rule(key=KEYS, ttl=st.integers(1, 3000))
    def expire(self, key: bytes, ttl: int) -> None:
        found = self.live().get(key)
        assert self.store.expire(key, ttl) is (found is not None)
        if found is not None:
            self.model[key] = (found[0], self.clock() + ttl)

    @rule(ms=st.integers(1, 2_000) | st.just(700_000))
    def pass_time(self, ms: int) -> None:
        self.clock.now_ms += ms

    @rule()
    def clear(self) -> None:
        self.store.write(keys.clear)
        self.model.clear()

    @rule()
    def flush(self) -> None:
        self.store.rotate()
        self.store.flush()

    @rule(everything=st.booleans())
    def compact(self, everything: bool) -> None:
        self.store.compact(everything=everything)

    @rule(seed=st.integers(0, 2**32), power_cut=st.booleans())
    def reopen(self, seed: int, power_cut: bool) -> None:
        self.release_snapshots()
        if power_cut:
            self.store = EngineHarness(self.store.storage.after_power_cut(seed), self.clock)
        else:
            self.store = self.store.reopen()

    @precondition(lambda self: len(self.snapshots) < 3)
    @rule()
    def take_snapshot(self) -> None:
        frozen = {key: (_copy(value), expires) for key, (value, expires) in self.model.items()}
        self.snapshots.append((self.store.pin(), frozen))

    @precondition(lambda self: self.snapshots)
    @rule()
    def check_oldest_snapshot(self) -> None:
        view, frozen = self.snapshots.pop(0)
        for key in (b"a", b"b", b"c"):
            found = frozen.get(key)
            living = found is not None and not (found[1] and found[1] <= self.clock())
            assert content(self.store, key, view) == (found[0] if found and living else None)
        view.unpin()

    @invariant()
    def agrees(self) -> None:
        live = self.live()
        for key in (b"a", b"b", b"c"):
            assert content(self.store, key) == (live[key][0] if key in live else None)

    def live(self) -> Model:
        return {k: v for k, v in self.model.items() if not v[1] or v[1] > self.clock()}

    def release_snapshots(self) -> None:
        for view, _ in self.snapshots:
            view.unpin()
        self.snapshots.clear()

    def teardown(self) -> None:
        if not hasattr(self, "store"):
            return
        self.release_snapshots()
        self.store.check()
        # At rest and merged, nothing is left of what is dead.
        self.clock.now_ms += 10_000_000
        for _ in range(2):
            self.store.set(b"last", b"")
            self.store.rotate()
            self.store.flush()
            self.store.compact(everything=True)
        left = parts(self.store)
        collections = [v[0] for v in self.live().values() if not isinstance(v[0], bytes)]
        assert left[KIND_OWNER] == len(collections)
        sizes = [2 * len(c[1]) if isinstance(c, tuple) else len(c) for c in collections]
        assert left[KIND_ELEMENT] == sum(sizes)


def _copy(value: Any) -> Any:
    return ("z", dict(value[1])) if isinstance(value, tuple) else value if isinstance(value, bytes) else value.copy()


CollectionMachine.TestCase.settings = settings(
    max_examples=60 * SCALE,
    stateful_step_count=40,
    derandomize=SCALE == 1,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestCollectionMachine = CollectionMachine.TestCase
