"""What has to be true of a store, from nothing but what processes said that they began and what was acknowledged to them.

All processes read one monotonic clock, so calls can be ordered whenever their times do not overlap. A call that ended with an
error, or with its process, may have happened or not.
"""

from __future__ import annotations

import json
import threading
from collections import Counter, defaultdict, deque
from itertools import pairwise
from typing import NamedTuple

from .saying import DELETES, ROUND

KEPT = 2000  # writes of a key that are remembered
HEARD_NS = 60_000_000_000  # until then, the lines of a writer have come through its pipe


class Write(NamedTuple):
    time: int
    number: int


class Register:
    """A key with one writer at a time, whose values are numbered upwards."""

    def __init__(self) -> None:
        self.begun: deque[Write] = deque([Write(0, 0)], KEPT)
        self.acknowledged: deque[Write] = deque([Write(0, 0)], KEPT)

    def judge(self, answer: str, began: int, ended: int) -> str | None:
        """What is wrong with a read, or None. A write that was not heard of yet makes it wrong, until it is."""
        floor = max((number for time, number in self.acknowledged if time < began), default=0)
        if answer == "none":
            allowed = [w for w in self.begun if w.number >= floor and (w.number % ROUND == DELETES or not w.number)]
            return None if any(w.time < ended for w in allowed) else f"nothing, where write {floor} was acknowledged"
        if not answer.isdigit():
            return f"{answer}, which nobody wrote"
        number = int(answer)
        if number < floor:
            return f"write {number}, older than {floor}, which was acknowledged"
        if number < self.begun[0].number or any(w.number == number and w.time < ended for w in self.begun):
            return None
        return f"write {number}, which nobody had begun"


class Read(NamedTuple):
    key: str
    answer: str
    began: int
    ended: int
    program: str


class Count:
    """A counter: when increments began and were acknowledged, and with which answers."""

    def __init__(self) -> None:
        self.begun = 0
        self.acknowledged = 0
        self.highest = 0
        self.answers: set[int] = set()


class Oracle:
    """Hears all processes, each in a thread of its own."""

    def __init__(self) -> None:
        self.violations: list[str] = []
        self.hour_keys_lost = 0
        self.operations: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.ends: Counter[str] = Counter()
        self.logged: Counter[str] = Counter()
        self.samples: dict[str, list[dict[str, float]]] = defaultdict(list)
        self.churned: list[tuple[int, int]] = []
        self.failed = False
        self.left: list[str] = []
        self._lock = threading.Lock()
        self._registers: dict[str, Register] = defaultdict(Register)
        self._counts: dict[str, Count] = defaultdict(Count)
        self._reads: list[Read] = []
        self._open: dict[str, tuple[str, list[str], int]] = {}
        self._pushed: dict[str, bool] = {}
        self._popped: set[str] = set()
        self._pops_in_doubt = 0
        self._holders: dict[tuple[str, str], int] = {}
        self._held: dict[str, list[tuple[int, int, str]]] = defaultdict(list)
        self._last_word: dict[str, int] = {}

    def hear(self, program: str, line: str) -> None:
        """One line of a process, `program` being its slot and generation."""
        mark, _, rest = line.partition(" ")
        with self._lock:
            if mark == ">":
                call, time, kind, *arguments = rest.split(" ")
                self._begin(call, int(time), kind, arguments)
            elif mark == "<":
                call, time, answer = rest.split(" ", 2)
                self._finish(program, call, int(time), answer)
            elif mark == "!":
                call, _, error = rest.split(" ", 2)
                self._fail(program, call, error)
            else:
                self._note(program, mark, rest)

    def _note(self, program: str, mark: str, rest: str) -> None:
        if mark == "X":
            self.violations.append(f"{program}: {rest}")
        elif mark == "S":
            self.samples[program].append(json.loads(rest))
        elif mark == "F":
            self.failed = True
            self.ends[f"failed: {rest}"[:160]] += 1
        elif mark == "E":
            self.logged[rest[:160]] += 1
        elif mark == "B":
            self.ends[f"busy or full: {rest.split(' ')[0]}"] += 1
        elif mark == "L":
            self.left.append(rest)
        else:
            self.violations.append(f"{program} said what nobody understands: {mark} {rest}")

    def _begin(self, call: str, time: int, kind: str, arguments: list[str]) -> None:
        self._open[call] = (kind, arguments, time)
        self._last_word[call.partition(".")[0]] = time
        if kind == "set":
            self._registers[arguments[0]].begun.append(Write(time, int(arguments[1])))
        elif kind == "incr":
            self._counts[arguments[0]].begun += 1
        elif kind == "push":
            self._pushed.setdefault(arguments[0], False)
        elif kind == "unlock":
            self._let_go(call.partition(".")[0], arguments[0], time)

    def _finish(self, program: str, call: str, time: int, answer: str) -> None:
        kind, arguments, began = self._open.pop(call)
        pid = call.partition(".")[0]
        self._last_word[pid] = time
        self.operations[kind] += 1
        if kind == "set":
            self._registers[arguments[0]].acknowledged.append(Write(time, int(arguments[1])))
        elif kind == "read":
            self._reads.append(Read(arguments[0], answer, began, time, program))
        elif kind == "incr":
            self._add(program, arguments[0], int(answer))
        elif kind == "count":
            self._check_count(arguments[0], int(answer))
        elif kind == "push":
            self._pushed[arguments[0]] = True
        elif kind == "pop" and answer != "none":
            self._pop(program, answer)
        elif kind == "lock" and answer == "1":
            self._holders[pid, arguments[0]] = time
        elif kind == "churn":
            self.churned.append((time, int(arguments[0])))

    def _fail(self, program: str, call: str, error: str) -> None:
        kind, _, _ = self._open.pop(call)
        name = error.partition(" ")[0]
        self.errors[name] += 1
        if kind == "pop":
            self._pops_in_doubt += 1
        if name not in ("StoreBusy", "StoreUncertain", "StoreFull", "StoreFailed"):
            self.violations.append(f"{program}: {kind} raised {error}")

    def _add(self, program: str, name: str, answer: int) -> None:
        count = self._counts[name]
        count.acknowledged += 1
        count.highest = max(count.highest, answer)
        if answer in count.answers:
            self.violations.append(f"{program}: counter {name} answered {answer} twice")
        count.answers.add(answer)

    def _check_count(self, name: str, answer: int) -> None:
        count = self._counts[name]
        if not max(count.acknowledged, count.highest) <= answer <= count.begun:
            self.violations.append(
                f"counter {name} is {answer}; acknowledged={count.acknowledged} highest={count.highest} begun={count.begun}"
            )

    def _pop(self, program: str, job: str) -> None:
        if job in self._popped:
            self.violations.append(f"{program}: job {job} was popped twice")
        self._popped.add(job)

    def _let_go(self, pid: str, name: str, time: int) -> None:
        since = self._holders.pop((pid, name), None)
        if since is not None:
            self._held[name].append((since, time, pid))

    def ended(self, calls_of: str) -> None:
        """A process has ended, and everything that it said was heard. Its children may still be there, by other pids."""
        with self._lock:
            for call in [call for call in self._open if call.partition(".")[0] == calls_of]:
                kind, _, _ = self._open.pop(call)
                self.operations["cut off"] += 1
                self._pops_in_doubt += kind == "pop"
            for pid, name in [holder for holder in self._holders if holder[0] == calls_of]:
                self._let_go(pid, name, self._last_word[pid])

    def settle(self, *, finally_: bool = False) -> None:
        """Judge the reads so far. What looks wrong is looked at again until what its writer said must have been heard."""
        with self._lock:
            reads, self._reads = self._reads, []
            latest = max((read.ended for read in reads), default=0)
            for read in reads:
                wrong = self._registers[read.key].judge(read.answer, read.began, read.ended)
                if wrong is not None and not finally_ and latest - read.ended < HEARD_NS:
                    self._reads.append(read)
                elif wrong is not None:
                    self.hour_keys_lost += read.key.startswith("hour:") and read.answer == "none"
                    self.violations.append(f"{read.program}: {read.key} is {wrong}")

    def check_locks(self) -> None:
        """A lock had one living holder at a time."""
        with self._lock:
            for pid, name in list(self._holders):
                self._let_go(pid, name, self._last_word[pid])
            for name, held in self._held.items():
                held.sort()
                for (_, until, pid), (since, _, other) in pairwise(held):
                    if since < until:
                        self.violations.append(f"lock {name} was held by {pid} and {other} for {until - since} ns")

    def check_jobs(self) -> None:
        """Each job that was acknowledged is in the list, or was popped once; no more are missing than pops were cut off."""
        with self._lock:
            doubt = self._pops_in_doubt + sum(kind == "pop" for kind, _, _ in self._open.values())
            pushed = {job for job, acknowledged in self._pushed.items() if acknowledged}
            lost = pushed - self._popped - set(self.left)
            if len(lost) > doubt:
                self.violations.append(f"{len(lost)} jobs are lost, {doubt} pops were cut off: {sorted(lost)[:5]}")
            again = set(self.left) & self._popped
            unknown = (set(self.left) | self._popped) - set(self._pushed)
            if again or unknown or len(set(self.left)) != len(self.left):
                self.violations.append(f"jobs came back or from nowhere: {sorted(again)[:5]} {sorted(unknown)[:5]}")

    def locks_held(self) -> int:
        """How often a lock was had and let go."""
        return sum(map(len, self._held.values()))
