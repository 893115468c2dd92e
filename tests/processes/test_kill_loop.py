"""Eight real processes on one directory, killed at any moment, hundreds of times. The oracle is kept outside of the directory.

What was acknowledged through a pipe must be there, with exactly the acknowledged value; a call that was under way when its process
died may have happened or not. Histories of all calls must have an order that explains every answer.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from random import Random

import pytest

from ferrokv import BlockingFerroKV

from ..support.harness import SCALE
from ..support.linearizability import NEVER, Call, explain
from ..support.speaker import Speaker

PROCESSES = 8
KILLS = 200 * SCALE
OPTIONS = {"memtable_bytes": 30_000, "table_bytes": 30_000, "level1_bytes": 100_000, "busy_timeout": 30.0}


class Worker(Speaker):
    """One process of `tests.support.worker`, and everything that it said."""

    def __init__(self, path: Path, seed: int, calls: int = 0) -> None:
        self.seed = seed
        self.lines: list[str] = []
        super().__init__(
            "tests.support.worker", str(path), str(seed), str(calls), json.dumps(OPTIONS), hear=self.lines.append
        )

    def calls(self) -> list[Call]:
        """The history, in order; the last call may be without an answer."""
        found: list[Call] = []
        for line in self.lines:
            mark, rest = line.split(" ", 1)
            assert mark != "!", line
            if mark == ">":
                kind, key, argument, began = rest.split(" ")
                value = int(argument) if kind == "incr" else argument.encode()
                found.append(Call(self.seed, kind, key.encode(), value, int(began)))
            else:
                text, ended = rest.rsplit(" ", 1)
                answer = json.loads(text)
                if found[-1].kind == "get" and answer is not None:
                    answer = answer.encode()
                found[-1] = found[-1]._replace(answer=answer, returned=int(ended))
        return found


def test_kill_9_loses_nothing_that_was_acknowledged(store_path: Path) -> None:
    random = Random(1)
    alive = [Worker(store_path, seed) for seed in range(PROCESSES)]
    dead: list[Worker] = []
    while len(dead) < KILLS or not has_said_enough([*dead, *alive]):
        time.sleep(random.choice((0.0, 0.01, 0.05, 0.1)) if len(dead) < KILLS else 1.0)
        victim = alive.pop(random.randrange(len(alive)))
        victim.end(kill=True)
        dead.append(victim)
        alive.append(Worker(store_path, len(dead) + PROCESSES))
    time.sleep(0.5)
    for worker in alive:
        worker.end(kill=True)
    everybody = [*dead, *alive]
    with BlockingFerroKV.open(store_path) as db:
        check_totals(db, everybody)
        check_own_keys(db, everybody)
        assert db.get("k") is None
        db.compact()
        check_totals(db, everybody)
        check_own_keys(db, everybody)


def has_said_enough(everybody: list[Worker]) -> bool:
    """False on a machine that is so slow that nearly all were killed before they had come to anything."""
    calls = [(worker.seed, call) for worker in everybody for call in worker.calls()]
    answered = sum(call.kind == "incr" and call.returned != NEVER for _, call in calls)
    own = {(seed, call.key) for seed, call in calls if call.key.startswith(b"own:")}
    return min(answered, len(own)) > KILLS


def check_totals(db: BlockingFerroKV, everybody: list[Worker]) -> None:
    """Every acknowledged increment counts once, every other at most once; no answer was given twice."""
    increments = [call for worker in everybody for call in worker.calls() if call.kind == "incr"]
    answered = [call.answer for call in increments if call.returned != NEVER]
    assert len(set(answered)) == len(answered)
    assert len(answered) > KILLS
    total = int(db.get("n") or 0)
    assert len(answered) <= total <= len(increments)
    assert max(answered) <= total


def check_own_keys(db: BlockingFerroKV, everybody: list[Worker]) -> None:
    """A key that one process alone wrote has its last acknowledged value, or that of the call that was cut off."""
    checked = 0
    for worker in everybody:
        last: dict[bytes, list[bytes]] = {}
        for call in worker.calls():
            if call.key.startswith(b"own:"):
                if call.returned == NEVER:
                    last.setdefault(call.key, [b""]).append(call.argument)
                else:
                    last[call.key] = [call.argument]
        for key, allowed in last.items():
            assert (db.get(key) or b"") in allowed, (key, allowed)
            checked += 1
    assert checked > KILLS


@pytest.mark.parametrize("round_", range(6 * SCALE))
def test_histories_of_real_processes_are_linearizable(store_path: Path, round_: int) -> None:
    random = Random(round_)
    workers = [Worker(store_path, seed, calls=40) for seed in range(PROCESSES)]
    for _ in range(round_ % 3):
        time.sleep(random.uniform(0.1, 0.3))
        workers[random.randrange(PROCESSES)].process.kill()
    for worker in workers:
        worker.end(kill=False)
    history = [call for worker in workers for call in worker.calls() if not call.key.startswith(b"own:")]
    with BlockingFerroKV.open(store_path) as db:
        now = time.monotonic_ns()
        history += [Call(99, "get", key, None, now, now + 1, db.get(key)) for key in (b"a", b"b", b"c", b"n")]
    assert len({call.process for call in history if call.returned != NEVER}) > PROCESSES // 2
    unexplained = explain(history)
    assert unexplained is None, unexplained


def test_the_checker_refuses_what_could_not_have_happened() -> None:
    def call(kind: str, argument: object, answer: object, called: int, returned: float) -> Call:
        return Call(1, kind, b"k", argument, called, returned, answer)

    write = call("set", b"1", True, 0, 10)
    assert explain([write, call("get", None, None, 1, 5), call("get", None, b"1", 6, 9)]) is None
    assert explain([write, call("get", None, b"1", 1, 5), call("get", None, None, 6, 9)]) is not None
    assert explain([write, call("get", None, None, 11, 12)]) is not None
    assert explain([call("set", b"1", None, 0, NEVER), call("get", None, b"1", 11, 12)]) is None
    assert explain([call("incr", 1, 1, 0, 5), call("incr", 1, 1, 3, 9)]) is not None
    assert explain([call("setnx", b"1", True, 0, 5), call("setnx", b"2", True, 6, 9)]) is not None
