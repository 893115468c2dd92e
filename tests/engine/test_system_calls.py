"""Each system call of a store's life fails once, fails for ever, or is the last of its process: opening, commits, rotations, flush,
compaction and closing, in each of the threads that make them. strace does it to a real process on a real file system.

What was acknowledged must be there at the next opening, which nothing keeps from succeeding, and whatever was raised has a name.
`make torture` tries every call, `make test` a spread of them.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

from ferrokv import BlockingFerroKV, FerroKVError

from ..support.harness import SCALE
from ..support.traced import CALLS, OPTIONS, Life, Server

REQUIRED = "FERROKV_REQUIRE_STRACE" in os.environ
THREADS = {
    ("blocking", "main"): 16,  # opens, commits, closes
    ("blocking", "ferrokv-background"): 9,  # flushes and compacts
    ("blocking", "ferrokv-writer"): 5,  # rotates when asked to flush
    ("asyncio", "asyncio_0"): 4,  # opens and closes
    ("asyncio", "ferrokv-writer"): 5,  # commits
}
"""The threads of the two lives, and so many cases of each with each fault; `make torture` takes all."""
SPACELESS = ("openat", "pwrite64", "fdatasync", "fsync", "renameat", "fallocate", "mkdir")
FAULTS = {"eio": "error=EIO", "eio for ever": "error=EIO", "no space": "error=ENOSPC", "kill": "signal=SIGKILL"}


class Case(NamedTuple):
    call: str
    number: int
    fault: str

    def option(self) -> str:
        forever = "+" if self.fault == "eio for ever" else ""
        return f"inject={self.call}:{FAULTS[self.fault]}:when={self.number}{forever}"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture(scope="module", autouse=True)
def traceable(server: Server, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skip where strace is missing or forbidden, unless this is a machine on which it has to work."""
    try:
        if shutil.which("strace") is None:
            raise FileNotFoundError("strace is not installed")
        calls = made_calls(server, "blocking", "main", tmp_path_factory.mktemp("traceable"))
        assert calls["fdatasync"], calls
    except (OSError, EOFError) as error:
        if REQUIRED:
            raise
        pytest.skip(f"system calls can not be made to fail here: {error}")


def made_calls(server: Server, kind: str, role: str, place: Path) -> Counter[str]:
    """How often a thread makes each call when nothing fails."""
    log = place / "log"
    life = server.live(kind, role, place / "store", log, "-e", f"trace={','.join(CALLS)}")
    assert life.errors == []
    assert life.status == 0
    return Counter(line.partition("(")[0] for line in log.read_text().splitlines() if line[0].isalpha())


def in_turn(cases: list[Case]) -> list[Case]:
    """All of them, in an order of which any beginning has something of each system call."""
    random = Random(repr(cases[0]))
    by_call: dict[str, list[Case]] = {}
    for case in cases:
        by_call.setdefault(case.call, []).append(case)
    columns = [random.sample(group, len(group)) for group in by_call.values()]
    return [case for row in zip_longest(*random.sample(columns, len(columns))) for case in row if case is not None]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(("kind", "role"), THREADS)
def test_a_system_call_that_fails_loses_nothing(
    server: Server, tmp_path: Path, kind: str, role: str, fault: str
) -> None:
    calls = made_calls(server, kind, role, tmp_path)
    cases = [
        Case(call, number + 1, fault)
        for call, made in sorted(calls.items())
        for number in range(made)
        if (fault != "no space" or call in SPACELESS) and (fault != "eio for ever" or call != "flock")
    ]
    injected, wrong = 0, []
    chosen = in_turn(cases)[: THREADS[kind, role] if SCALE == 1 else None]
    for i, case in enumerate(chosen):
        place = tmp_path / str(i)
        place.mkdir()
        life = server.live(kind, role, place / "store", place / "log", "-e", f"trace={case.call}", "-e", case.option())
        injected += bool(life.injected)
        found = judge(life, place / "store", killed=fault == "kill")
        # Letting go of a lock that is held does not fail on a local file system.
        if found is not None and not (fault == "eio" and "LOCK_UN" in life.injected[0]):
            wrong.append(f"{case.option()} {life.injected[:1]}: {found}")
        shutil.rmtree(place)
    assert not wrong, "\n\n".join(wrong)
    assert injected > len(chosen) // 2


def judge(life: Life, path: Path, *, killed: bool) -> str | None:
    """What is wrong: an error without a name, an acknowledged write that is gone, damage; now, or after one more opening."""
    raw = [error for mark, error in life.errors if mark != "error"]
    if raw or life.status not in ((0, -9) if killed else (0,)):
        return f"status={life.status} {raw}"
    for _ in range(2):
        try:
            with BlockingFerroKV.open(path, **OPTIONS) as db:
                for key, begun in life.begun.items():
                    found = db.get(key)
                    allowed = [life.acknowledged.get(key), *begun]
                    if (None if found is None else found.decode()) not in allowed:
                        return f"{key} is {found!r}, not one of {allowed}"
                problems = db.verify().problems
        except FerroKVError as error:
            return f"reopening raised {error!r}"
        if problems:
            return f"verify() found {problems}"
    return None
