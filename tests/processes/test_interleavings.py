"""Two to four simulated processes in every order that matters: exhaustively with up to two preemptions on small scenarios, and
at random, with kills and stops, beyond.

After each run a newcomer must open the store, the whole history must have an order that explains every answer, and after a power
cut nothing that was acknowledged may be missing.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from itertools import islice
from random import Random

import pytest

from ferrokv.errors import StoreBusy, StoreFailed, StoreFull
from ferrokv.local.format import control
from ferrokv.local.storage.requests import Open, Rename, Request, Sync, SyncDirectory, WriteAt
from ferrokv.options import Options
from ferrokv.testing.simulated import SimulatedStorage

from ..support.harness import SCALE, TINY
from ..support.linearizability import NEVER, explain
from ..support.simulation import IDLE, Body, SimulatedProcess, World, finish, maintain

KEY = b"k"
PARTS = 12 if SCALE > 1 else 1  # so that a long run spreads over the processors and shows how far it is
Choose = Callable[[list[SimulatedProcess]], SimulatedProcess | None]


def calls(*wanted: tuple) -> Body:
    """A process that opens the store and does these calls; ("flush",) and the like are background work."""

    def body(process: SimulatedProcess) -> None:
        try:
            do_all(process)
        except (StoreBusy, StoreFull, StoreFailed, OSError):
            process.storage.close()  # somebody was stopped in the middle of opening, or the disk failed there

    def do_all(process: SimulatedProcess) -> None:
        if process.store is None:
            process.open()
        for kind, *arguments in wanted:
            if kind == "close":
                process.close()
            elif kind == "open":
                process.open()
            elif kind in ("flush", "compact", "rotate", "refresh"):
                maintain(process, kind)
            else:
                process.call(kind, *arguments)

    return body


def opened(world: World, body: Body) -> SimulatedProcess:
    """A process that has attached before the interesting part begins."""
    process = world.spawn(body)
    process.open()
    return process


def old_data(world: World) -> None:
    """Something in tables, something in a sealed memtable, something in the WAL; by a process that has left."""
    process = SimulatedProcess(world, 50, lambda _: None)
    process.open()
    for i in range(6):
        process.call("set", b"old:%d" % (i % 3), b"v%d" % i)
        if i == 2:
            process.store.rotate()
            process.store.flush()
        if i == 4:
            process.store.rotate()
    process.close()


INCR = ("incr", KEY, 1)
GET = ("get", KEY)
SCENARIOS: dict[str, tuple[Body, ...]] = {
    "two writers": (calls(INCR, INCR), calls(INCR, GET)),
    "writer and reader": (calls(("set", KEY, b"1"), ("set", KEY, b"2")), calls(GET, GET, GET)),
    "rotate beside a writer": (calls(INCR, ("rotate",), INCR), calls(INCR, INCR, GET)),
    "both rotate": (calls(INCR, ("rotate",), INCR), calls(("rotate",), INCR, GET)),
    "flush beside a writer": (calls(INCR, ("rotate",), ("flush",), GET), calls(INCR, GET, INCR)),
    "flush beside a reader": (calls(("rotate",), ("flush",)), calls(GET, ("get", b"old:1"), GET, ("get", b"old:2"))),
    "both flush": (calls(INCR, ("rotate",), ("flush",)), calls(("rotate",), ("flush",), INCR)),
    "compact beside a reader": (
        calls(("flush",), ("compact",)),
        calls(("get", b"old:0"), ("refresh",), ("get", b"old:1")),
    ),
    "compact beside a flush": (calls(("compact",), INCR), calls(INCR, ("rotate",), ("flush",), GET)),
    "late follower": (calls(INCR, ("rotate",), ("flush",), ("rotate",), INCR, ("flush",)), calls(GET, INCR)),
    "set nx": (calls(("setnx", KEY, b"a"), GET), calls(("setnx", KEY, b"b"), GET)),
    "delete and incr": (calls(INCR, ("delete", KEY)), calls(INCR, GET)),
}
OPENINGS: dict[str, tuple[Body, ...]] = {
    "both open": (calls(INCR, GET), calls(INCR, GET)),
    "open while the other closes": (calls(INCR, ("close",)), calls(INCR, GET)),
    "open beside a flush": (calls(INCR, ("rotate",), ("flush",)), calls(GET, INCR)),
    "close and open": (calls(INCR, ("close",), ("open",), INCR), calls(INCR, ("close",))),
}


def prepare(bodies: tuple[Body, ...], *, attached: bool, seed: int = 0, options: Options = TINY) -> World:
    world = World(seed, options)
    old_data(world)
    for body in bodies:
        if attached:
            opened(world, body)
        else:
            world.spawn(body)
    return world


def preempting(points: tuple[int, ...], first: int) -> Choose:
    """Each process runs on until it is done or blocked, but at these steps the next one in the circle comes first."""
    step = 0
    current = first

    def choose(ready: list[SimulatedProcess]) -> SimulatedProcess:
        nonlocal step, current
        step += 1
        numbers = [process.number for process in ready]
        if step in points or current not in numbers:
            later = [number for number in numbers if number > current]
            current = (later or numbers)[0]
        return ready[numbers.index(current)]

    return choose


def judge(world: World, *, cut_seed: int | None = None) -> None:
    """The oracle."""
    finish(world)
    unexplained = explain(world.history)
    assert unexplained is None, unexplained
    if cut_seed is not None:
        judge_power_cut(world, cut_seed)


def judge_power_cut(world: World, seed: int) -> None:
    """What returned is there after the power was lost, and what is there explains the answers."""
    after = world.after_power_cut(seed)
    finish(after)
    unexplained = explain(after.history)
    assert unexplained is None, unexplained


def steps_of(bodies: tuple[Body, ...], *, attached: bool) -> int:
    world = prepare(bodies, attached=attached)
    world.run(preempting((), 1))
    judge(world)
    return sum(process.steps for process in world.processes)


def schedules(steps: int, pairs: int) -> Iterator[tuple[int, ...]]:
    """No preemption, each single one, and as many pairs, spread evenly, as there is time for."""
    yield ()
    for i in range(1, steps + 1):
        yield (i,)
    every = [(i, j) for i in range(1, steps + 1) for j in range(i + 1, steps + 1)]
    stride = max(1, len(every) // pairs)
    yield from every[::stride]


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("name", [*SCENARIOS, *OPENINGS])
def test_every_order_of_two_processes_is_linearizable(name: str, part: int) -> None:
    attached = name in SCENARIOS
    bodies = SCENARIOS.get(name) or OPENINGS[name]
    steps = steps_of(bodies, attached=attached)
    count = 0
    for first in (1, 2):
        for points in islice(schedules(steps, 300 * SCALE), part, None, PARTS):
            world = prepare(bodies, attached=attached)
            world.run(preempting(points, first))
            assert all(process.done for process in world.processes)
            judge(world, cut_seed=count if count % 8 == 0 else None)
            count += 1
    assert count > 200 // PARTS


@pytest.mark.parametrize("name", [*SCENARIOS, *OPENINGS])
def test_death_at_every_step_harms_nobody(name: str) -> None:
    """One process runs alone up to a step and dies there; the others find what it left, and go on."""
    attached = name in SCENARIOS
    bodies = SCENARIOS.get(name) or OPENINGS[name]
    for first in (0, 1):
        step = died = 0
        while died == step:
            step += 1
            world = prepare(bodies, attached=attached, seed=step)
            victim = world.processes[first]

            def choose(
                ready: list[SimulatedProcess], victim: SimulatedProcess = victim, step: int = step
            ) -> SimulatedProcess | None:
                if victim.steps == step and not victim.done:
                    victim.kill()
                    return IDLE
                return victim if victim in ready else ready[0]

            world.run(choose)
            died += not victim.storage.alive
            assert all(process.done for process in world.processes)
            judge_power_cut(world, step)
            judge(world)
        assert step > 3


class Chance:
    """A scheduler that draws lots: it tends to let one process run for a while, and may kill, stop or resume any of them.

    At some moments it looks what a power cut would leave, and then goes on.
    """

    def __init__(self, world: World, seed: int, *, kills: int = 0, stops: int = 0, cuts: int = 0) -> None:
        self.world = world
        self.random = Random(seed)
        self.stickiness = self.random.choice((0.0, 0.5, 0.8, 0.95, 0.99))
        self.kills = kills
        self.stops = stops
        self.cuts = cuts
        self.current: SimulatedProcess | None = None
        self.killed = 0

    def __call__(self, ready: list[SimulatedProcess]) -> SimulatedProcess | None:
        random = self.random
        if self.cuts and random.random() < 0.02:
            self.cuts -= 1
            judge_power_cut(self.world, random.randrange(1 << 30))
        if self.kills and random.random() < 0.01:
            victim = random.choice(ready)
            self.kills -= 1
            self.killed += 1
            victim.kill()
            ready = [process for process in ready if process is not victim]
        if self.stops and ready and random.random() < 0.01:
            self.stops -= 1
            ready.pop(random.randrange(len(ready))).stopped = True
        stopped = [process for process in self.world.processes if process.stopped]
        if stopped and random.random() < 0.005:
            random.choice(stopped).stopped = False
        if not ready:
            return IDLE
        if self.current not in ready or random.random() > self.stickiness:
            self.current = random.choice(ready)
        return self.current


def random_body(random: Random) -> Body:
    """A dozen calls on two keys, with background work, closings and openings in between."""
    wanted: list[tuple] = []
    for _ in range(random.randrange(3, 12)):
        key = random.choice((b"a", b"b"))
        draw = random.randrange(20)
        if draw < 7:
            wanted.append(("incr", b"n", 1))
        elif draw < 10:
            wanted.append(("get", random.choice((key, b"n"))))
        elif draw < 12:
            wanted.append(("set", key, b"%d" % random.randrange(1000)))
        elif draw < 13:
            wanted.append(("setnx", key, b"%d" % random.randrange(1000)))
        elif draw < 14:
            wanted.append(("delete", key))
        elif draw < 19:
            wanted.append((random.choice(("rotate", "flush", "flush", "compact", "refresh")),))
        else:
            wanted += [("close",), ("open",)]
    return calls(*wanted)


BATCHES = 16 * SCALE
PER_BATCH = 320


@pytest.mark.parametrize("batch", range(BATCHES))
def test_random_orders_with_kills_and_stops_are_linearizable(batch: int) -> None:
    killed = 0
    for seed in range(batch * PER_BATCH, (batch + 1) * PER_BATCH):
        random = Random(seed)
        bodies = tuple(random_body(random) for _ in range(random.randrange(2, 5)))
        world = prepare(bodies, attached=random.random() < 0.5, seed=seed)
        kills, stops, cuts = random.choice((0, 1, 1, 2)), random.choice((0, 0, 1)), random.choice((0, 1, 2))
        chance = Chance(world, seed, kills=kills, stops=stops, cuts=cuts)
        world.run(chance)
        judge(world)
        killed += chance.killed
    assert killed > PER_BATCH // 4


def of_the_manifest(request: Request) -> bool:
    """True for what changes a manifest, CURRENT, or their names."""
    if isinstance(request, WriteAt | Sync):
        return request.file.name.startswith(("manifest", "CURRENT"))
    if isinstance(request, Open):
        return request.create and request.name.startswith(("manifest", "CURRENT"))
    return isinstance(request, Rename | SyncDirectory)


@pytest.mark.parametrize("batch", range(4 * SCALE))
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_a_manifest_that_can_not_be_written_harms_nobody(batch: int, code: int) -> None:
    """One process fails at any of the requests by which it changes the manifest, once or each time, while others go on."""
    failed, few = 0, PER_BATCH // 4
    for seed in range(batch * few, (batch + 1) * few):
        random = Random(seed)
        bodies = tuple(random_body(random) for _ in range(random.randrange(2, 4)))
        world = prepare(bodies, attached=True, seed=seed)
        unlucky = world.processes[0].storage
        skipped = [random.randrange(8)]
        once = random.random() < 0.5
        met: list[Request] = []

        def fail(
            _: int,
            request: Request,
            unlucky: SimulatedStorage = unlucky,
            skipped: list[int] = skipped,
            once: bool = once,
            met: list[Request] = met,
        ) -> None:
            if not of_the_manifest(request):
                return
            skipped[0] -= 1
            if skipped[0] < 0:
                met.append(request)
                if once:
                    unlucky.observe = None
                raise OSError(code, "injected")

        unlucky.observe = fail
        world.run(Chance(world, seed, kills=random.choice((0, 1))))
        unlucky.observe = None
        failed += bool(met)
        if world.disk.machine.pages["control"][control.POISON]:
            for process in world.processes:
                process.kill()
        judge(world, cut_seed=seed)
    assert failed > few // 8  # a quarter of them, give or take


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("batch", range(2 * SCALE))
def test_a_failing_disk_is_noticed_by_every_process(batch: int, code: int) -> None:
    poisoned = 0
    for seed in range(batch * PER_BATCH, (batch + 1) * PER_BATCH):
        random = Random(seed)
        bodies = tuple(random_body(random) for _ in range(2))
        world = prepare(bodies, attached=True, seed=seed)
        unlucky = world.processes[0].storage
        place = random.randrange(60)

        def fail(
            index: int,
            request: Request,
            unlucky: SimulatedStorage = unlucky,
            start: int = unlucky.requests,
            place: int = place,
        ) -> None:
            changes = isinstance(request, WriteAt | Sync | SyncDirectory) or getattr(request, "create", False)
            if changes and index >= start + place:
                unlucky.observe = None
                raise OSError(code, "injected")

        unlucky.observe = fail
        world.run(Chance(world, seed))
        unlucky.observe = None
        page = world.disk.machine.pages["control"]
        if page[control.POISON]:
            poisoned += 1
            for process in world.processes:
                if process.store is not None:
                    before = len(world.history)
                    process.call("incr", b"n", 1)
                    assert world.history[before].returned == NEVER, "a write was acknowledged after a failed sync"
            for process in world.processes:
                process.kill()
        judge(world, cut_seed=seed)
    assert poisoned > PER_BATCH // 20
