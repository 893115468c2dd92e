"""Starts the workers, and does to them what a month on a real server does, in an order that a seed gives."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from random import Random
from types import FrameType
from typing import NamedTuple

from ...support.speaker import Speaker
from . import ROLES
from .oracle import Oracle
from .page import Page

DISK_BYTES = 200_000_000
HOUR_NS = 3_600_000_000_000
WEIGH_SECONDS = 5
EXPECTED_CODES = (0, 3, 4, -signal.SIGKILL, -signal.SIGTERM)  # the last: before the worker could listen to it
PATIENCE_SECONDS = 120  # a guard only: who does not end by then hangs
ACTIONS = {"kill": 10, "stop": 5, "restart": 5, "orphan": 1, "clock": 4, "fill": 1}


class Disk:
    """A small ext4 of its own on a loop device where that is allowed; else workers are told when their disk is full."""

    def __init__(self, base: Path) -> None:
        self.path = base / "disk"
        self._image = base / "image"
        self.mounted = False

    def mount(self) -> None:
        self.path.mkdir()
        self.mounted = self._may_mount()

    def _may_mount(self) -> bool:
        if os.geteuid() or not shutil.which("mkfs.ext4"):
            return False
        with self._image.open("wb") as file:
            file.truncate(DISK_BYTES)
        for command in (["mkfs.ext4", "-q", "-m", "0", self._image], ["mount", "-o", "loop", self._image, self.path]):
            if subprocess.run(command, check=False, capture_output=True).returncode:
                return False
        return True

    def fill(self) -> None:
        """Leave no byte."""
        with (self.path / "ballast").open("wb", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                try:
                    while True:
                        file.write(bytes(size))
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise

    def free(self) -> None:
        (self.path / "ballast").unlink(missing_ok=True)

    def unmount(self) -> None:
        if self.mounted:
            subprocess.run(["umount", self.path], check=True)


class Slot:
    """One role's place, and the process that has it now."""

    def __init__(self, number: int, base: Path, oracle: Oracle, disk: Disk) -> None:
        self.number, self.role = number, ROLES[number]
        self.generation = -1
        self.page = Page(base / f"page-{number}")
        self._oracle, self._disk = oracle, disk
        self.speaker: Speaker | None = None

    @property
    def name(self) -> str:
        return f"{self.role} {self.generation}"

    def start(self) -> None:
        self.generation += 1
        self.page.clock_ns = 0
        self.speaker = start(self.role, self.number, self.generation, self.page, self._oracle, self._disk)

    def send(self, number: int) -> None:
        assert self.speaker is not None
        self.speaker.process.send_signal(number)

    def kill(self) -> None:
        """Whatever is left of it, when the run is over or has failed."""
        if self.speaker is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.speaker.process.pid, signal.SIGKILL)
            self.speaker.process.wait()

    def has_ended(self) -> bool:
        assert self.speaker is not None
        return self.speaker.process.poll() is not None

    def end(self) -> None:
        """Wait for its end. To hang is a violation, and so is an exit code that says that it met what must not be."""
        assert self.speaker is not None
        try:
            self.speaker.process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self._oracle.violations.append(f"{self.name} hangs")
            self.send(signal.SIGABRT)
        code = self.speaker.end(kill=False)
        self._oracle.ended(str(self.speaker.process.pid))
        self._oracle.ends[f"exit code {code}"] += 1
        if code not in EXPECTED_CODES:
            self._oracle.violations.append(f"{self.name} ended with exit code {code}")


def start(role: str, slot: int, generation: int, page: Page, oracle: Oracle, disk: Disk) -> Speaker:
    program = f"{role} {generation}"
    return Speaker(
        "tests.processes.soak.worker",
        *(role, str(slot), str(generation), str(disk.path / "store"), str(page.path)),
        "mounted" if disk.mounted else "limited",
        hear=lambda line: oracle.hear(program, line),
        group=True,
    )


class Choice(NamedTuple):
    """One thing that happens: to which slot, for how long, by how much its clock steps, and after which pause."""

    action: str
    slot: int
    seconds: float
    step_ns: int
    pause: float


class Director:
    """One run. All that it chooses comes from the seed; what comes of it depends on the machine."""

    def __init__(self, base: Path, seed: int, oracle: Oracle, disk: Disk) -> None:
        self.random = Random(seed)
        self.oracle = oracle
        self.disk = disk
        self.slots = [Slot(number, base, oracle, self.disk) for number in range(len(ROLES))]
        # Left to live, so that what a process gathers over time can be seen.
        self.spared = set(self.random.sample([0, 1, 2, 4], 2))
        self.done: Counter[str] = Counter()
        self.weights: list[dict[str, float]] = []
        self.stepped_back_ns = 0  # the furthest that the clock of a process went
        self._began = time.monotonic()
        self._stopped: dict[int, float] = {}
        self._full_until = 0.0
        self._interrupted = False

    def run(self, seconds: float) -> None:
        signal.signal(signal.SIGINT, self._interrupt)
        try:
            self._run(time.monotonic() + seconds)
        finally:
            for slot in self.slots:
                slot.kill()

    def _run(self, deadline: float) -> None:
        for slot in self.slots:
            slot.start()
        while time.monotonic() < deadline and not self._interrupted:
            choice = self.choose()
            time.sleep(choice.pause)  # the pace of events, not a synchronisation
            self._act(choice)
            self._recover()
            self.oracle.settle()
            self._weigh()
        self._stand_down()

    def _weigh(self) -> None:
        """Now and then, note what the store needs, and what is gone from its disk: removed files that are open, and backups."""
        now = time.monotonic() - self._began
        if self.weights and now - self.weights[-1]["seconds"] < WEIGH_SECONDS:
            return
        sizes = {}
        with suppress(FileNotFoundError):  # nobody has made the directory yet
            for path in (self.disk.path / "store").iterdir():
                with suppress(FileNotFoundError):
                    sizes[path.name] = path.stat().st_size
        found = os.statvfs(self.disk.path)
        row = {
            "seconds": round(now),
            "store_bytes": sum(sizes.values()),
            "tables": sum(name.endswith(".sst") for name in sizes),
            "wals": sum(name.startswith("wal") for name in sizes),
            "disk_used_bytes": (found.f_blocks - found.f_bfree) * found.f_frsize if self.disk.mounted else 0,
            "full": int(bool(self._full_until)),
            "store_full_errors": self.oracle.errors["StoreFull"],
        }
        self.weights.append(row)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self._interrupted = True

    def choose(self) -> Choice:
        """What is next, by the seed alone."""
        action = self.random.choices(list(ACTIONS), list(ACTIONS.values()))[0]
        slot = self.random.randrange(len(ROLES))
        seconds = self.random.choice((0.05, 0.5, 1.0, 4.0))
        step = self.random.choice((-3 * HOUR_NS, -HOUR_NS // 60, HOUR_NS // 120, 3 * HOUR_NS, 0, 0))
        pause = self.random.uniform(0.05, 0.8)
        if action in ("kill", "restart", "orphan") and slot in self.spared:
            action = "stop"
        return Choice(action, slot, seconds, step, pause)

    def _act(self, choice: Choice) -> None:
        action, number, seconds, step, _ = choice
        slot = self.slots[number]
        self.done[action] += 1
        if action == "kill":
            slot.kill()
        elif action == "orphan":
            slot.send(signal.SIGKILL)  # its forked children live on for a while
        elif action == "restart":
            slot.send(signal.SIGCONT)
            slot.send(signal.SIGTERM)
        elif action == "stop":
            slot.send(signal.SIGSTOP)
            self._stopped[slot.number] = time.monotonic() + seconds
        elif action == "clock":
            slot.page.clock_ns = step
            self.stepped_back_ns = max(self.stepped_back_ns, -step)
        elif action == "fill" and not self._full_until:
            self._fill(True)
            self._full_until = time.monotonic() + seconds
        if action in ("kill", "restart", "orphan"):
            self._replace(slot)

    def _fill(self, full: bool) -> None:
        if self.disk.mounted:
            (self.disk.fill if full else self.disk.free)()
        for slot in self.slots:
            slot.page.full = full

    def _replace(self, slot: Slot) -> None:
        self._stopped.pop(slot.number, None)
        slot.end()
        slot.start()

    def _recover(self) -> None:
        """What has to go on: who was stopped, who ended by itself, a store that failed, a full disk."""
        now = time.monotonic()
        for number in [number for number, until in self._stopped.items() if until < now]:
            self.slots[number].send(signal.SIGCONT)
            del self._stopped[number]
        if self._full_until and self._full_until < now:
            self._full_until = 0.0
            self._fill(False)
        if self.oracle.failed:
            self.done["all restarted behind StoreFailed"] += 1
            self.oracle.violations.append("the store failed, although no sync did")
            self._end_all(signal.SIGTERM)
            self.oracle.failed = False
            for slot in self.slots:
                slot.start()
        for slot in self.slots:
            if slot.has_ended():
                self.done["ended by itself"] += 1
                self._replace(slot)

    def _end_all(self, number: int) -> None:
        for slot in self.slots:
            if not slot.has_ended():
                slot.send(signal.SIGCONT)
                slot.send(number)
        self._stopped.clear()
        for slot in self.slots:
            slot.end()

    def _stand_down(self) -> None:
        self._fill(False)
        self._end_all(signal.SIGTERM)
        for slot in self.slots:
            slot.page.clock_ns = 0  # who reads the store back has the right time
        self.oracle.settle(finally_=True)
        self.oracle.check_locks()
