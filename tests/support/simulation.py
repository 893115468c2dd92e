"""Several simulated processes on one machine, and a scheduler that lets one of them go one step further at a time.

A step ends at every request, at every load and store of a shared word and at every lock. What must hold is checked at each step
that changes something: who may store which word, that words only grow, that nothing is published before it is durable.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from greenlet import getcurrent, greenlet

from ferrokv.errors import StoreBusy, StoreFailed, StoreFull, StoreUncertain
from ferrokv.local.commands import counters, keys, strings
from ferrokv.local.engine.manifest import read_manifest
from ferrokv.local.format import control
from ferrokv.local.format.current import decode_current
from ferrokv.local.names import file_name
from ferrokv.local.storage.drivers import complete
from ferrokv.options import Options
from ferrokv.testing.simulated import ProcessKilled, SimulatedStorage

from .harness import TINY, EngineHarness, ManualClock
from .linearizability import Call

Body = Callable[["SimulatedProcess"], None]

OWNER = {
    control.COMMIT: "sync",
    control.APPENDED: "write",
    control.SYNCER: "sync",
    control.INTENT: "write",
    control.WRITER: "write",
    control.VERSION: "compact",
    control.COMPACTOR: "compact",
    control.LEVEL0: "compact",
    control.DAMAGED: "compact",
    control.WAKES: "sync",
}


class SimulatedProcess:
    """A process: its part of the machine, its engine, and what it has been told to do."""

    def __init__(self, world: World, number: int, body: Body) -> None:
        self.world = world
        self.number = number
        self.storage = SimulatedStorage(number, shares=world.disk)
        self.store: EngineHarness | None = None
        self.stopped = False
        self.steps = 0
        self.error: BaseException | None = None
        self._body = body
        self._greenlet = greenlet(self._run)

    @property
    def done(self) -> bool:
        return self._greenlet.dead or not self.storage.alive

    @property
    def ready(self) -> bool:
        """True if it can go a step further."""
        if self.done or self.stopped or self.storage in self.world.disk.machine.asleep:
            return False
        role = self.storage.waiting_for
        over = self.storage.waiting_until
        free = role is None or role not in self.world.disk.machine.locks or self.storage.timed_out
        return free or (over is not None and over())

    def step(self) -> None:
        """Go on to the next point where others may come first."""
        self.steps += 1
        self.storage.on_pause = self._pause
        self._greenlet.switch()
        self.storage.on_pause = None

    def kill(self) -> None:
        """End it where it stands."""
        self.storage.kill()
        if self._greenlet and not self._greenlet.dead:
            self._greenlet.throw(ProcessKilled)

    def open(self) -> EngineHarness:
        """Attach, or recover."""
        self.store = EngineHarness(self.storage, self.world.clock, self.world.options)
        return self.store

    def close(self) -> None:
        """Leave in order."""
        assert self.store is not None
        self.storage.close()
        self.store = None

    def call(self, kind: str, key: bytes, argument: Any = None) -> Any:
        """One call, noted in the history. One that was refused for certain leaves no trace."""
        store = self.store
        assert store is not None
        world = self.world
        call = Call(self.number, kind, key, argument, world.tick())
        place = len(world.history)
        world.history.append(call)
        try:
            answer = _carry_out(store, kind, key, argument)
        except (StoreFailed, StoreFull, StoreUncertain):
            return None  # may have happened
        except StoreBusy:
            world.history[place] = call._replace(kind="get", answer=None)  # pending reads explain anything
            return None
        world.history[place] = call._replace(returned=world.tick(), answer=answer)
        return answer

    def _pause(self) -> None:
        self.world.runner.switch()

    def _run(self) -> None:
        try:
            self._body(self)
        except ProcessKilled:
            return
        except BaseException as error:
            self.error = error


def _carry_out(store: EngineHarness, kind: str, key: bytes, argument: Any) -> Any:
    if kind == "get":
        return store.get(key)
    if kind == "set":
        store.set(key, argument)
        return True
    if kind == "incr":
        return store.write(counters.increment, key, argument, False)
    if kind == "setnx":
        options = strings.make_set_options(None, None, True, False, False, False, None, None)
        return store.write(strings.set_value, key, argument, options)
    assert kind == "delete"
    return store.write(keys.delete, [key])


IDLE = None


class World:
    """The machine, its processes and their history."""

    def __init__(self, seed: int, options: Options = TINY) -> None:
        self.disk = SimulatedStorage(seed)
        self.disk.machine.on_store = self._check_store
        self.clock = ManualClock()
        self.options = options
        self.runner = getcurrent()
        self.processes: list[SimulatedProcess] = []
        self.history: list[Call] = []
        self.stores = 0
        self._ticks = 0

    def tick(self) -> int:
        """The next moment."""
        self._ticks += 1
        return self._ticks

    def spawn(self, body: Body) -> SimulatedProcess:
        """A process that has not begun."""
        process = SimulatedProcess(self, len(self.processes) + 1, body)
        self.processes.append(process)
        return process

    def run(self, choose: Callable[[list[SimulatedProcess]], SimulatedProcess | None]) -> None:
        """Let `choose` say who goes on (or IDLE), until nobody can. A waiter whose holder is stopped times out."""
        while True:
            ready = [process for process in self.processes if process.ready]
            if not ready:
                waiting = [p for p in self.processes if not p.done and not p.stopped and p.storage.waiting_for]
                if not waiting:
                    break
                holders = self.disk.machine.locks
                stopped = [p.storage for p in self.processes if p.stopped]
                blocked = [p for p in waiting if holders[p.storage.waiting_for or ""] in stopped]
                assert blocked, "processes wait in a circle"
                for process in blocked:
                    process.storage.timed_out = True
                continue
            chosen = choose(ready)
            if chosen is IDLE:
                continue
            chosen.step()
            self.check()
            if chosen.error is not None:
                raise chosen.error

    def after_power_cut(self, seed: int) -> World:
        """The machine as it may come up again, with the history so far."""
        after = World(seed, self.options)
        after.disk = self.disk.after_power_cut(seed)
        after.disk.machine.on_store = after._check_store
        after.history = list(self.history)
        after._ticks = self._ticks
        return after

    def check(self) -> None:
        """Nobody shows what is not published."""
        page = self.disk.machine.pages.get("control")
        for process in self.processes:
            store = process.store
            if page is None or store is None or process.done or not store.engine.page_is_kept:
                continue
            position = store.engine.wal.position
            assert (position.number, position.end) <= control.unpack_position(page[control.COMMIT])

    def _check_store(self, storage: SimulatedStorage, index: int, value: int) -> None:
        machine = self.disk.machine
        self.stores += 1
        owner = OWNER.get(index)
        alone = machine.locks.get("open") is storage and machine.announced == [storage]
        if owner is not None:
            assert alone or machine.locks.get(owner) is storage, f"word {index} stored without the {owner} lock"
        old = machine.pages["control"][index]
        if index in (control.COMMIT, control.VERSION):
            assert value > old or value == old, f"word {index} went back"
        if index == control.COMMIT:
            number, end = control.unpack_position(value)
            self._check_durable(file_name("wal", number), end)
        if index == control.VERSION:
            self._check_manifest()

    def _check_durable(self, name: str, end: int | None = None) -> None:
        machine = self.disk.machine
        inode = machine.names[name]
        assert machine.durable_names.get(name) is inode, f"{name} is published before its name is durable"
        assert inode.content[:end] == inode.durable[:end], f"{name} is published before it is durable"

    def _check_manifest(self) -> None:
        machine = self.disk.machine
        self._check_durable("CURRENT")
        current = decode_current(bytes(machine.names["CURRENT"].content))
        self._check_durable(file_name("manifest", current.manifest_number))
        quiet = SimulatedStorage(0, shares=self.disk)
        for number in complete(read_manifest(current), quiet).tables.metas:
            self._check_durable(file_name("table", number))


def maintain(process: SimulatedProcess, kind: str) -> None:
    """One piece of background work; somebody else's turn is no error."""
    store = process.store
    assert store is not None
    try:
        if kind == "rotate":
            store.rotate()
        elif kind == "flush":
            store.flush()
        elif kind == "compact":
            store.compact(everything=True)
        else:
            store.refresh()
    except (StoreBusy, StoreFailed, StoreFull):
        return


def finish(world: World) -> None:
    """After a run: a newcomer reads every key, writes, flushes and compacts, and finds everything in order."""
    for process in world.processes:
        if process.stopped:
            process.kill()
    last = SimulatedProcess(world, 99, lambda _: None)
    store = last.open()
    keys_seen = sorted({call.key for call in world.history})
    for _ in range(2):
        for key in keys_seen:
            last.call("get", key)
        last.call("incr", b"n", 1)
        store.rotate()
        store.flush()
        store.compact(everything=True)
    store.check()
    last.close()
