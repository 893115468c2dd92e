"""Power cuts at every request of generated workloads, and every request failing once or for ever.

What must hold after each: the store opens; what was acknowledged is there; the state is one that the sequence of writes
went through (a prefix, without a hole, batches whole); and opening again changes nothing.
"""

from __future__ import annotations

import errno
from contextlib import suppress
from random import Random

import pytest

from ferrokv.errors import FerroKVError, StoreFailed
from ferrokv.local.commands import keys, strings
from ferrokv.local.opening.opening import open_engine
from ferrokv.local.storage.drivers import complete
from ferrokv.local.storage.requests import Request, Sync, WriteAt
from ferrokv.testing.simulated import PowerCut, SimulatedStorage

from ..support.harness import SCALE, TINY, EngineHarness, ManualClock, State

DAMAGES = 4


class OpeningFailedError(Exception):
    """There is no store that a workload could go on with."""


class Workload:
    """Random writes and background work from one seed. `states` are all states that were begun, `acknowledged` counts
    those whose write had returned."""

    def __init__(self, seed: int, storage: SimulatedStorage) -> None:
        self.random = Random(seed)
        self.storage = storage
        self.clock = ManualClock()
        self.model: State = {}
        self.states: list[State] = [{}]
        self.acknowledged = 0
        # What writes for which there was no space would have led to, since the last success.
        self.refused: list[State] = []
        self.store: EngineHarness | None = None

    def run(self, steps: int) -> None:
        self.store = EngineHarness(self.storage, self.clock)
        for _ in range(steps):
            self.step(self.store)

    def step(self, store: EngineHarness) -> None:
        choice = self.random.randrange(100)
        if choice < 80:
            self.batch(store)
        elif choice < 83:
            self.clear(store)
        elif choice < 89:
            store.flush()
        elif choice < 94:
            store.compact(everything=choice < 91)
        elif choice < 97:
            store.rotate()
        else:
            if self.random.random() < 0.5:
                self.storage.machine.pages.clear()  # as if the control page were lost: recovery must not need it
            try:
                self.store = store = store.reopen()
            except (OSError, FerroKVError) as error:
                raise OpeningFailedError from error  # the store that was closed for it must not go on
            if self.refused:
                self.settle(store)

    def settle(self, store: EngineHarness) -> None:
        """Of the writes that were refused for lack of space one is there from the next opening on, or none."""
        observe, self.storage.observe = self.storage.observe, None  # the oracle's own reads do not fail
        state = store.state()
        self.storage.observe = observe
        assert state in (self.model, *self.refused)
        self.states.append(state)
        self.model, self.refused = state, []

    def batch(self, store: EngineHarness) -> None:
        writes: list[strings.Write] = []
        for _ in range(self.random.choice((1, 1, 1, 2, 5, 12))):
            key = b"key:%d" % self.random.randrange(12)
            value = None if self.random.random() < 0.3 else self.random.randbytes(self.random.randrange(60))
            writes.append((key, value, self.random.choice((None, None, 10_000_000))))
        model = dict(self.model)
        for key, value, ttl in writes:
            model.pop(key, None)
            if value is not None:
                model[key] = (value, self.clock() + ttl if ttl else 0)
        self.issue(store, model, strings.write_many, writes)

    def clear(self, store: EngineHarness) -> None:
        self.issue(store, {}, keys.clear)

    def issue(self, store: EngineHarness, model: State, command, *args) -> None:
        self.states.append(model)
        try:
            store.write(command, *args)
        finally:
            self.model = model
        self.acknowledged = len(self.states) - 1
        self.refused = []


def check_recovered(storage: SimulatedStorage, work: Workload, seed: int) -> None:
    """The oracle, run on one state of the disk after a power cut."""
    store = EngineHarness(storage, work.clock)
    state = store.state()
    allowed = work.states[work.acknowledged :]
    assert state in allowed, (seed, work.acknowledged, len(work.states))
    store.check()
    again = store.reopen()
    assert again.state() == state
    again.set(b"after", b"1")
    assert again.get(b"after") == b"1"


@pytest.mark.parametrize("seed", range(24 * SCALE))
def test_power_cut_at_every_request_keeps_acknowledged_writes(seed: int) -> None:
    storage = SimulatedStorage(seed)
    work = Workload(seed, storage)

    def cut(index: int, request: Request) -> None:
        for damage in range(DAMAGES):
            after = storage.after_power_cut(seed * 1_000_003 + index * 101 + damage)
            check_recovered(after, work, seed)

    storage.observe = cut
    work.run(40)
    assert storage.requests > 100


@pytest.mark.parametrize("seed", range(6 * SCALE))
def test_power_cut_during_recovery_keeps_acknowledged_writes(seed: int) -> None:
    storage = SimulatedStorage(seed)
    work = Workload(seed, storage)
    work.run(60)
    crashed = storage.after_power_cut(seed)

    def cut(index: int, request: Request) -> None:
        check_recovered(crashed.after_power_cut(seed * 7_919 + index), work, seed)

    crashed.observe = cut
    complete(open_engine(crashed, TINY, work.clock), crashed)
    assert crashed.requests > 5


@pytest.mark.parametrize("seed", range(2 * SCALE))
def test_a_power_cut_after_two_recoveries_that_were_killed_loses_nothing(seed: int) -> None:
    """The second finds files of the first that only memory holds, as a killed process leaves them."""

    def crashed_storage() -> tuple[SimulatedStorage, Workload]:
        first = SimulatedStorage(seed)
        work = Workload(seed, first)
        work.run(6)
        return first.after_power_cut(seed), work

    requests = recover_until(crashed_storage()[0], None)
    assert requests > 10
    for killed_at in range(requests):
        rest = recover_until(killed(crashed_storage()[0], killed_at), None)
        for again_at in range(0, rest, 1 + (killed_at + seed) % 2):
            machine, work = crashed_storage()
            second = killed(machine, killed_at)
            recover_until(second, again_at)
            for damage in range(2):
                check_recovered(second.after_power_cut(killed_at * 10_007 + again_at * 31 + damage), work, seed)


def killed(storage: SimulatedStorage, request: int) -> SimulatedStorage:
    """What another process finds, on a machine that is still up, after one was killed at this request of its recovery."""
    recover_until(storage, request)
    storage.kill()
    return SimulatedStorage(2, shares=storage)


def recover_until(storage: SimulatedStorage, stop: int | None) -> int:
    """Recover until this request is about to be made, and return how many were made."""

    def cut(index: int, _: Request) -> None:
        if index == stop:
            raise PowerCut

    storage.observe = cut
    with suppress(PowerCut):
        complete(open_engine(storage, TINY, ManualClock()), storage)
    storage.observe = None
    return storage.requests


FAILURES = (errno.EIO, errno.ENOSPC)


@pytest.mark.parametrize("for_ever", [False, True])
@pytest.mark.parametrize("code", FAILURES)
@pytest.mark.parametrize("seed", range(4 * SCALE))
def test_every_failing_request_is_a_named_error_and_loses_nothing(seed: int, code: int, for_ever: bool) -> None:
    requests = _count_requests(seed)
    for position in range(0, requests, 1 if requests < 200 else 2):
        storage = SimulatedStorage(seed)
        work = Workload(seed, storage)

        def fail(index: int, request: Request, position: int = position) -> None:
            if index == position or (for_ever and index > position):
                raise OSError(code, "injected")

        storage.observe = fail
        _run_until_stuck(work, 40)
        storage.observe = None
        check_recovered(storage.after_power_cut(position), work, seed)


@pytest.mark.parametrize("seed", range(24 * SCALE))
def test_several_failing_requests_lose_nothing(seed: int) -> None:
    """What the first failure left to be mended meets the next one. Of a write that fails, all may have been written."""
    random = Random(seed)
    requests = _count_requests(seed)
    for cut in range(50):
        failing = {random.randrange(requests): random.choice(FAILURES) for _ in range(random.choice((2, 3, 6)))}
        whole = {position for position in failing if random.random() < 0.4}
        storage = SimulatedStorage(seed)
        work = Workload(seed, storage)

        def fail(
            index: int,
            request: Request,
            storage: SimulatedStorage = storage,
            failing: dict[int, int] = failing,
            whole: set[int] = whole,
        ) -> None:
            if index in failing:
                if isinstance(request, WriteAt) and index in whole:
                    storage._write(request)
                raise OSError(failing[index], "injected")

        storage.observe = fail
        _run_until_stuck(work, 40)
        storage.observe = None
        check_recovered(storage.after_power_cut(cut), work, seed)


def _count_requests(seed: int) -> int:
    storage = SimulatedStorage(seed)
    Workload(seed, storage).run(40)
    return storage.requests


def _run_until_stuck(work: Workload, steps: int) -> None:
    """Go on after errors as a program would; stop when the store says that it takes no more."""
    try:
        work.store = EngineHarness(work.storage, work.clock)
    except (OSError, FerroKVError):
        return
    for _ in range(steps):
        try:
            work.step(work.store)
        except (StoreFailed, OpeningFailedError):
            return
        except FerroKVError:
            # StoreFull: not acknowledged, and by the next success known to be absent.
            _forget_unacknowledged(work)
        except OSError:
            return  # a read or an opening failed; the error names the cause


def _forget_unacknowledged(work: Workload) -> None:
    """The state before the refused write stays possible: continue the model from what the store shows."""
    assert work.store is not None
    observe, work.storage.observe = work.storage.observe, None  # the oracle's own reads do not fail
    state = work.store.state()
    work.storage.observe = observe
    work.states.append(state)
    work.refused.append(work.model)
    work.model = state


def test_failed_sync_is_never_repeated_and_poisons_the_store() -> None:
    storage = SimulatedStorage(1)
    store = EngineHarness(storage, ManualClock())
    store.set(b"a", b"1")
    syncs = []

    def fail(index: int, request: Request) -> None:
        if isinstance(request, Sync):
            syncs.append(index)
            raise OSError(errno.EIO, "injected")

    storage.observe = fail
    for _ in range(3):
        with pytest.raises(StoreFailed):
            store.set(b"b", b"2")
    assert len(syncs) == 1
    assert store.get(b"a") == b"1"
    storage.observe = None
    with pytest.raises(StoreFailed):
        store.set(b"b", b"2")


def test_a_killed_writers_unsynced_frame_can_not_make_the_store_unreadable() -> None:
    """Killed between write and sync, opened again, and only then the power is cut (seen in simulation: issue 2)."""
    for with_page in (True, False):
        for seed in range(20):
            storage = SimulatedStorage(seed)
            clock = ManualClock()
            store = EngineHarness(storage, clock)
            store.set(b"a", b"1")

            def kill(index: int, request: Request) -> None:
                if isinstance(request, Sync):
                    raise PowerCut

            storage.observe = kill
            with pytest.raises(PowerCut):
                store.set(b"b", b"2")
            storage.observe = None
            if not with_page:
                storage.machine.pages.clear()
            opened = EngineHarness(storage, clock)
            assert opened.get(b"b") == b"2"
            after = EngineHarness(storage.after_power_cut(seed), clock)
            assert after.get(b"a") == b"1"
            assert after.get(b"b") == opened.get(b"b")


def test_power_cut_is_not_an_error_to_handle() -> None:
    storage = SimulatedStorage(1)
    store = EngineHarness(storage, ManualClock())

    def cut(index: int, request: Request) -> None:
        raise PowerCut

    storage.observe = cut
    with pytest.raises(PowerCut):
        store.set(b"a", b"1")
