"""Who is woken by what, in which turn; and every order of the words by which processes wake each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from threading import RLock
from types import SimpleNamespace
from typing import Any

import pytest
from greenlet import getcurrent, greenlet

from ferrokv.errors import StoreClosed
from ferrokv.local.commands import lists
from ferrokv.local.engine.wakeups import Waiter, WaiterIndex, sleep_until_news, wake_waiting
from ferrokv.local.format import control
from ferrokv.local.format.commits import Entry
from ferrokv.local.format.roots import LIST, RootFields
from ferrokv.local.log.replica import catch_up
from ferrokv.local.storage.drivers import complete
from ferrokv.local.storage.requests import Lock
from ferrokv.testing.simulated import SimulatedStorage

from ..support.harness import SCALE
from ..support.simulation import Body, SimulatedProcess
from .test_interleavings import calls, preempting, prepare

CATALOGUE: Any = SimpleNamespace(prefixes={"default": b"p:", "other": b"q:"})


def written(key: bytes, size: int | None = None) -> dict[bytes, Entry]:
    """A commit that left a list of this size at a key, or a string, or with 0 nothing."""
    value = b"string" if size is None else RootFields(LIST, 1, 1, size, 9).encode() if size else None
    return {b"p:" + key: (value, 0, 1, None)}


def armed(waited: WaiterIndex, kind: Any, *keys: bytes, count: int = 1) -> list[Waiter]:
    waiters = [Waiter(kind, [("default", key) for key in keys]) for _ in range(count)]
    for waiter in waiters:
        waited.arm(waiter, CATALOGUE)
    return waiters


def woken(waiters: list[Waiter]) -> list[int]:
    return [i for i, waiter in enumerate(waiters) if waiter.is_woken]


# -- the rules of who is woken ---------------------------------------------------------------------------------------


def test_a_push_wakes_as_many_as_it_has_elements_for_and_the_longest_waiting_first() -> None:
    waited = WaiterIndex()
    waiters = armed(waited, "elements", b"k", count=1000)
    bystanders = armed(waited, "elements", b"other", count=10)
    waited.show(written(b"k", 1))
    assert woken(waiters) == [0]
    waited.show(written(b"k", 3))  # the first has not come by yet: there is something for two more
    assert woken(waiters) == [0, 1, 2]
    waited.show(written(b"k", 2))  # somebody popped: the three who are on their way are enough
    waited.show(written(b"k", 0))
    waited.show(written(b"k"))
    assert woken(waiters) == [0, 1, 2]
    assert woken(bystanders) == []
    assert waited.woken == 3


def test_who_goes_away_without_taking_passes_it_on() -> None:
    waited = WaiterIndex()
    waiters = armed(waited, "elements", b"k", count=4)
    waited.show(written(b"k", 1))
    waited.leave(waiters[0])
    assert woken(waiters) == [0, 1]
    waited.leave(waiters[1], took=True)
    assert woken(waiters) == [0, 1]
    waited.leave(waiters[2])  # asleep: nothing to pass on
    assert woken(waiters) == [0, 1]
    assert list(waited.armed) == [waiters[3]]


def test_who_comes_back_empty_handed_stands_first_again() -> None:
    waited = WaiterIndex()
    waiters = armed(waited, "elements", b"k", count=3)
    waited.show(written(b"k", 1))
    waited.arm(waiters[0], CATALOGUE)
    assert woken(waiters) == []
    waited.show(written(b"k", 1))
    assert woken(waiters) == [0]


def test_who_waits_for_two_keys_is_woken_for_one_and_out_of_both_lines() -> None:
    waited = WaiterIndex()
    both, second = armed(waited, "elements", b"a", b"b") + armed(waited, "elements", b"b")
    waited.show({**written(b"a", 1), **written(b"b", 1)})
    assert both.is_woken
    assert second.is_woken or both.woken_for == b"p:b"
    if not second.is_woken:
        waited.leave(both)  # it may have taken from the other: so what is in the second is passed on
        assert second.is_woken


def test_everybody_who_watches_a_key_is_woken_by_any_change_of_it() -> None:
    waited = WaiterIndex()
    waiters = armed(waited, "changes", b"k", count=3)
    waited.show(written(b"other"))
    assert woken(waiters) == []
    waited.show(written(b"k", 0))
    assert woken(waiters) == [0, 1, 2]
    assert waited._lines["changes"] == {}


def test_one_looks_at_a_lock_and_the_next_when_that_one_has_it_or_goes() -> None:
    waited = WaiterIndex()
    waiters = armed(waited, "locks", b"k", count=4)
    assert [waited.is_first(waiter) for waiter in waiters] == [True, False, False, False]
    waited.show(written(b"k", 0))
    waited.show(written(b"k"))  # the one who is on its way has it now
    assert woken(waiters) == [0]
    waited.leave(waiters[0], took=True)
    assert woken(waiters) == [0, 1]
    waited.arm(waiters[1], CATALOGUE)
    assert waited.is_first(waiters[1])
    waited.leave(waiters[1])  # it minded the clock for all: somebody else has to
    assert woken(waiters) == [0, 2]


def test_the_first_in_line_looks_at_the_lock_of_a_dead_process() -> None:
    waited = WaiterIndex()
    waiters = armed(waited, "locks", b"k", count=3) + armed(waited, "locks", b"other")
    for waiter, holder in zip(waiters, ("dead", "dead", "dead", "living"), strict=True):
        waiter.holder = holder
    assert waited.holders() == {"dead", "living"}
    waited.wake_heirs({"dead"})
    assert woken(waiters) == [0]


def test_what_a_stalled_waiter_was_woken_for_goes_to_the_next_after_a_second() -> None:
    waited = WaiterIndex()
    waiters = armed(waited, "elements", b"k", count=3)
    waited.show(written(b"k", 1))
    waited.tick(lambda _: False)
    assert woken(waiters) == [0]
    waited.tick(lambda _: False)
    assert woken(waiters) == [0, 1]
    waited.arm(waiters[0], CATALOGUE)  # it runs again
    assert woken(waiters) == [1]


def test_waiters_of_a_closed_loop_are_forgotten_and_others_woken_instead() -> None:
    waited = WaiterIndex()
    gone, here = object(), object()
    waited.tell = lambda channel, _: channel is here
    waiters = [Waiter("elements", [("default", b"k")]) for _ in range(1500)]
    for waiter in waiters:
        waiter.channel = gone
    waiters[-1].channel = here
    for waiter in waiters:
        waited.arm(waiter, CATALOGUE)
    waited.show(written(b"k", 1))
    assert waiters[-1].is_woken
    assert not waited.armed
    for waiter in waiters:
        waited.arm(waiter, CATALOGUE)
    waited.tick(lambda channel: channel is gone)
    assert list(waited.armed) == [waiters[-1]]


@pytest.mark.parametrize("kind", ["changes", "elements", "locks"])
def test_a_signal_handler_that_raises_while_somebody_is_told_costs_nobody_the_wake_up(kind: str) -> None:
    waited = WaiterIndex()
    told: list[Waiter] = []

    def interrupted(channel: Any, waiters: list[Waiter]) -> bool:
        waited.tell = lambda channel, waiters: told.extend(waiters) or True
        raise KeyboardInterrupt

    (waiter,) = armed(waited, kind, b"k")
    waited.tell = interrupted
    with pytest.raises(KeyboardInterrupt):
        waited.show(written(b"k", 1))
    waited.show(written(b"k", 1))  # as the next reader does
    assert told == [waiter]
    waited.arm(waiter, CATALOGUE)
    assert not waiter.is_woken
    waited.show(written(b"k", 1))
    assert told == [waiter] * 2


def test_a_keyspace_that_is_not_there_yet_and_closing() -> None:
    waited = WaiterIndex()
    waiter = Waiter("elements", [("new", b"k")])
    waited.arm(waiter, CATALOGUE)
    assert waiter.keys == ()
    (bystander,) = armed(waited, "elements", b"k")
    waited.move(SimpleNamespace(prefixes={"default": b"p:", "new": b"n:"}))  # type: ignore[arg-type]
    assert waiter.is_woken
    assert not bystander.is_woken
    waited.move(SimpleNamespace(prefixes={"default": b"r:"}))  # type: ignore[arg-type]
    assert bystander.is_woken  # it was cleared
    waited.arm(waiter, CATALOGUE)
    waited.close()
    assert waiter.is_woken
    with pytest.raises(StoreClosed):
        waited.arm(waiter, CATALOGUE)


# -- every order of the steps of those who wait and those who wake ----------------------------------------------------


class Model:
    """Processes that only know the words: those who wait for COMMIT to reach a number, and those who count it up."""

    def __init__(self, waiters: int, commits: list[int], own_commits: int = 0) -> None:
        self.disk = SimulatedStorage(1)
        self.runner = getcurrent()
        self.target = sum(commits) + own_commits * waiters
        fresh = control.encode_page(bytes(16), bytes(16), 1)
        self.disk.map_page("control", fresh)
        self.greenlets: list[greenlet] = []
        self.storages: list[SimulatedStorage] = []
        for number in range(waiters):
            self.spawn(lambda engine: self.wait(engine, own_commits), number)
        for number, count in enumerate(commits):
            self.spawn(lambda engine, count=count: self.commit(engine, count), waiters + number)

    def spawn(self, body: Callable[[Any], None], number: int) -> None:
        storage = SimulatedStorage(number + 1, shares=self.disk)
        words = storage.attach_page("control", control.CONTROL_BYTES)
        page = self.disk.machine.pages["control"]
        page[control.SLOTS] = number + 1
        start = control.slot_start(number)

        class Slot:
            def __setitem__(self, word: int, value: int) -> None:
                words[start + word] = value

        slot = Slot()
        slot.number = number  # type: ignore[attr-defined]
        engine = SimpleNamespace(words=words, slot=slot, storage=storage, lock=RLock(), seen=0, waiters=WaiterIndex())
        storage.on_pause = self.runner.switch
        self.storages.append(storage)
        self.greenlets.append(greenlet(lambda: body(engine)))

    def wait(self, engine: Any, own_commits: int) -> None:
        engine.waiters.arm(Waiter("changes", [("default", b"k")]), CATALOGUE)
        self.commit(engine, own_commits)
        while engine.seen < self.target:
            sleep_until_news(engine, 1.0)
            engine.seen = engine.words[control.COMMIT]

    def commit(self, engine: Any, count: int) -> None:
        for _ in range(count):
            assert engine.storage.perform(Lock("sync", 1.0))
            engine.words[control.COMMIT] = engine.words[control.COMMIT] + 1
            wake_waiting(engine)
            engine.storage.unlocker("sync")()

    def ready(self) -> list[int]:
        machine = self.disk.machine
        return [
            i
            for i, storage in enumerate(self.storages)
            if not self.greenlets[i].dead
            and storage not in machine.asleep
            and (storage.waiting_for is None or storage.waiting_for not in machine.locks)
        ]

    def run(self, prefix: list[int]) -> list[tuple[list[int], int]]:
        """Go by the prefix, then on with whoever runs; (who was ready, who was chosen) for each step."""
        trace: list[tuple[list[int], int]] = []
        while ready := self.ready():
            at = len(trace)
            chosen = prefix[at] if at < len(prefix) else trace[-1][1] if trace else ready[0]
            if chosen not in ready:
                chosen = ready[0]
            trace.append((ready, chosen))
            self.greenlets[chosen].switch()
        assert all(one.dead for one in self.greenlets), f"somebody sleeps for ever: {[c for _, c in trace]}"
        return trace


def orders(make: Callable[[], Model], preemptions: int) -> int:
    """Run every order with so many switches away from a process that could go on; how many there were."""
    stack: list[list[int]] = [[]]
    runs = 0
    while stack:
        prefix = stack.pop()
        trace = make().run(prefix)
        runs += 1
        used = 0
        for at, (ready, chosen) in enumerate(trace):
            last = trace[at - 1][1] if at else chosen
            for other in ready if at >= len(prefix) else ():
                cost = used + (last in ready and other != last)
                if other != chosen and cost <= preemptions:
                    stack.append([one for _, one in trace[:at]] + [other])
            used += last in ready and chosen != last
    return runs


@pytest.mark.parametrize(
    ("waiters", "commits", "own_commits", "preemptions"),
    [(1, [1], 0, 99), (1, [2], 0, 2), (1, [1, 1], 0, 2), (2, [1], 0, 2), (2, [2], 0, 1), (2, [], 1, 2), (1, [1], 1, 3)],
)
def test_no_order_of_the_words_loses_a_wake_up(
    waiters: int, commits: list[int], own_commits: int, preemptions: int
) -> None:
    more = 1 if SCALE > 1 else 0  # all of it in `make torture`
    assert orders(lambda: Model(waiters, commits, own_commits), preemptions + more) > 10


# -- whole engines ---------------------------------------------------------------------------------------------------


def pops(key: bytes) -> Body:
    """A process that waits for an element of a list, as the faces do, and takes it."""

    def body(process: SimulatedProcess) -> None:
        store = process.store
        assert store is not None
        engine = store.engine
        waiter = Waiter("elements", [("default", key)])
        while True:
            with engine.lock:
                engine.waiters.arm(waiter, engine.view.catalogue)
            if store.get(key) is not None and store.write(lists.pop_one, key, True) is not None:
                return
            while not waiter.is_woken:
                sleep_until_news(engine, 1.0)
                complete(catch_up(engine), process.storage)

    return body


def pushes(key: bytes, count: int) -> Body:
    def body(process: SimulatedProcess) -> None:
        assert process.store is not None
        for i in range(count):
            process.store.write(lists.push, key, [b"%d" % i], False, False)
            if i % 2:
                process.store.rotate()

    return body


SCENARIOS: dict[str, tuple[Body, ...]] = {
    "a push": (pops(b"q"), pushes(b"q", 1)),
    "two pushes and a rotation": (pops(b"q"), pops(b"q"), pushes(b"q", 2)),
    "other writers": (pops(b"q"), pushes(b"q", 1), calls(("set", b"k", b"1"), ("rotate",), ("flush",))),
}


def points(name: str) -> Iterator[tuple[int, ...]]:
    """Every step of a scenario, as the place of one preemption."""
    world = prepare(SCENARIOS[name], attached=True)
    world.run(preempting((), 1))
    yield from ((step,) for step in range(sum(process.steps for process in world.processes)))


@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.parametrize("first", [1, 2])
def test_a_push_reaches_its_waiter_in_every_order(name: str, first: int) -> None:
    for place in points(name):
        world = prepare(SCENARIOS[name], attached=True)
        world.run(preempting(place, first))
        assert all(process.done for process in world.processes), f"somebody sleeps for ever: {place}"
