"""A state machine against a dict with a clock: every command, every kind of background work, every reopening."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ferrokv.errors import ResponseError
from ferrokv.local.commands import keys, strings
from ferrokv.testing.simulated import SimulatedStorage

from ..support.harness import SCALE, EngineHarness, ManualClock, State

KEYS = st.sampled_from([b"a", b"b", b"key:1", b"key:2", b"key:22", b"key:\xff", b"z" * 40]) | st.binary(
    min_size=1, max_size=3
)
VALUES = st.binary(max_size=80) | st.integers(-99, 99).map(lambda n: b"%d" % n)
TTLS = st.none() | st.integers(1, 3_000)


class StoreMachine(RuleBasedStateMachine):
    """The model is `self.model`: key -> (value, expires_ms)."""

    @initialize(seed=st.integers(0, 2**32))
    def start(self, seed: int) -> None:
        self.clock = ManualClock()
        self.store = EngineHarness(SimulatedStorage(seed), self.clock)
        self.model: State = {}
        self.snapshots: list = []

    def live(self) -> State:
        now = self.clock()
        return {k: v for k, v in self.model.items() if not v[1] or v[1] > now}

    @rule(key=KEYS, value=VALUES, ttl=TTLS)
    def set(self, key: bytes, value: bytes, ttl: int | None) -> None:
        self.store.set(key, value, ttl)
        self.model[key] = (value, self.clock() + ttl if ttl else 0)

    @rule(key=KEYS, value=VALUES, nx=st.booleans(), keepttl=st.booleans())
    def set_conditionally(self, key: bytes, value: bytes, nx: bool, keepttl: bool) -> None:
        options = strings.SetOptions(nx=nx, xx=not nx, keepttl=keepttl)
        answer = self.store.write(strings.set_value, key, value, options)
        old = self.live().get(key)
        if (old is None) == nx:
            assert answer is True
            self.model[key] = (value, old[1] if keepttl and old else 0)
        else:
            assert answer is None

    @rule(names=st.lists(KEYS, max_size=4))
    def delete(self, names: list[bytes]) -> None:
        live = self.live()
        assert self.store.delete(*names) == len(set(names) & set(live))
        for name in names:
            self.model.pop(name, None)

    @rule(key=KEYS, amount=st.integers(-5, 5))
    def incr(self, key: bytes, amount: int) -> None:
        value, expires = self.live().get(key, (b"0", 0))
        try:
            answer = self.store.incr(key, amount)
        except ResponseError:
            assert not value.removeprefix(b"-").isdigit() or value != b"%d" % int(value)
        else:
            assert answer == int(value) + amount
            self.model[key] = (b"%d" % answer, expires)

    @rule(key=KEYS, ttl=st.integers(-10, 3_000))
    def expire(self, key: bytes, ttl: int) -> None:
        found = self.live().get(key)
        assert self.store.expire(key, ttl) is (found is not None)
        if found is not None:
            self.model[key] = (found[0], self.clock() + ttl)
            if ttl <= 0:
                del self.model[key]

    @rule(writes=st.lists(st.tuples(KEYS, st.none() | VALUES, TTLS), max_size=6))
    def batch(self, writes: list[tuple[bytes, bytes | None, int | None]]) -> None:
        self.store.write(strings.write_many, writes)
        for key, value, ttl in writes:
            if value is None:
                self.model.pop(key, None)
            else:
                self.model[key] = (value, self.clock() + ttl if ttl else 0)

    @rule(source=KEYS, destination=KEYS)
    def rename(self, source: bytes, destination: bytes) -> None:
        found = self.live().get(source)
        try:
            self.store.write(keys.rename, source, destination)
        except ResponseError:
            assert found is None
        else:
            assert found is not None
            self.model.pop(source, None)
            self.model[destination] = found

    @rule()
    def clear(self) -> None:
        self.store.write(keys.clear)
        self.model.clear()

    @rule(ms=st.integers(1, 2_000) | st.just(700_000))
    def pass_time(self, ms: int) -> None:
        self.clock.now_ms += ms

    @rule()
    def rotate(self) -> None:
        self.store.rotate()

    @rule()
    def flush(self) -> None:
        self.store.flush()

    @rule(everything=st.booleans())
    def compact(self, everything: bool) -> None:
        self.store.compact(everything=everything)

    @rule()
    def reopen(self) -> None:
        self.release_snapshots()
        self.store.check()
        self.store = self.store.reopen()

    @rule(seed=st.integers(0, 2**32))
    def cut_power_at_rest(self, seed: int) -> None:
        self.release_snapshots()
        self.store = EngineHarness(self.store.storage.after_power_cut(seed), self.clock)

    @precondition(lambda self: len(self.snapshots) < 3)
    @rule()
    def take_snapshot(self) -> None:
        self.snapshots.append((self.store.pin(), dict(self.model)))

    @precondition(lambda self: self.snapshots)
    @rule()
    def check_and_release_oldest_snapshot(self) -> None:
        view, frozen = self.snapshots.pop(0)
        now = self.clock()
        live = {k: v[0] for k, v in frozen.items() if not v[1] or v[1] > now}
        assert dict(self.store.scan(view)) == live
        for key in {*frozen, *self.model}:
            assert self.store.get(key, view) == live.get(key)
        view.unpin()

    @rule(key=KEYS)
    def get(self, key: bytes) -> None:
        found = self.live().get(key)
        assert self.store.get(key) == (found[0] if found else None)

    @invariant()
    def scans_agree(self) -> None:
        expected = sorted((k, v[0]) for k, v in self.live().items())
        assert self.store.scan() == expected
        assert self.store.scan(reverse=True) == expected[::-1]

    def release_snapshots(self) -> None:
        for view, _ in self.snapshots:
            view.unpin()
        self.snapshots.clear()

    def teardown(self) -> None:
        if hasattr(self, "store"):
            assert self.store.state() == self.live()
            self.store.check()


StoreMachine.TestCase.settings = settings(
    max_examples=120 * SCALE, stateful_step_count=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestStoreMachine = StoreMachine.TestCase
