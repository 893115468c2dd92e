"""A small life of a store under strace, which makes one system call of one thread fail, or kills the process there.

A server process imports everything once and forks a child for each life, so that a case takes tens of milliseconds. In the child
each thread waits at its beginning until strace is attached to it, or is not to be: so the calls of one thread are counted from its
first, and those of the interpreter's own start are not among them. `python -m tests.support.traced` is the server.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import logging
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ferrokv import BlockingFerroKV, FerroKV, FerroKVError

ROOT = Path(__file__).parent.parent.parent
OPTIONS = {"memtable_bytes": 3000, "table_bytes": 2000, "level1_bytes": 6000, "level0_tables": 2, "busy_timeout": 2.0}
ROUNDS, KEYS = 3, 12
GUARD_SECONDS = 60  # a hang, not a measure of speed
PR_SET_PTRACER = 0x59616D61
CALLS = (
    *("openat", "pread64", "preadv2", "pwrite64", "fdatasync", "fsync", "renameat", "unlinkat", "flock", "fallocate"),
    *("mkdir", "getdents64", "newfstatat", "faccessat2", "fcntl", "mmap", "fchmod", "close"),
)
"""Every system call of a life that concerns its files."""


def say(*words: object) -> None:
    """One line for the other end, at once."""
    os.write(1, json.dumps(words).encode() + b"\n")


class Life(NamedTuple):
    """What a child did: which writes were acknowledged, what was raised, and how it ended."""

    acknowledged: dict[str, str]
    begun: dict[str, list[str]]
    errors: list[tuple[str, str]]
    status: int
    injected: list[str]
    """The calls that strace failed, or killed the process at, as it shows them."""


def value(round_: int, i: int) -> str:
    return f"{round_}:{i}:" + "v" * (100 + i)


@contextmanager
def telling(key: str, text: str) -> Iterator[None]:
    """Around a write: what is begun, acknowledged, or refused by name."""
    say("begin", key, text)
    try:
        yield
    except FerroKVError as error:
        say("error", type(error).__name__, str(error))
    else:
        say("ack", key, text)


@contextmanager
def named_errors() -> Iterator[None]:
    """Around anything else: it may fail, but only by name."""
    try:
        yield
    except FerroKVError as error:
        say("error", type(error).__name__, str(error))


def live_blocking(path: str) -> None:
    """Open, write over several WALs, read, flush, compact, write again and close; on through errors that have a name."""
    with named_errors(), BlockingFerroKV.open(path, **OPTIONS) as db:
        for round_ in range(ROUNDS):
            for i in range(KEYS):
                with telling(f"k{i}", value(round_, i)):
                    db.set(f"k{i}", value(round_, i))
            with named_errors():
                db.get("k0")
            with named_errors():
                (db.flush if round_ else db.compact)()
        with named_errors():
            list(db.scan())
        with named_errors():
            db.stats()


def live_asyncio(path: str) -> None:
    async def live() -> None:
        with named_errors():
            async with await FerroKV.open(path, **OPTIONS) as db:
                for round_ in range(ROUNDS):
                    for i in range(KEYS):
                        with telling(f"k{i}", value(round_, i)):
                            await db.set(f"k{i}", value(round_, i))
                with named_errors():
                    await db.flush()
                with named_errors():
                    await asyncio.gather(*(db.get(f"k{i}") for i in range(KEYS)))
                with named_errors():
                    await db.compact()

    asyncio.run(live())


LIVES = {"blocking": live_blocking, "asyncio": live_asyncio}


def hold_threads(role: str) -> None:
    """Have the thread of this role say its id at its beginning, and wait for a byte. `main` is the caller itself."""

    def wait() -> None:
        say("thread", threading.get_native_id())
        os.read(0, 1)

    run = threading.Thread.run
    waited: list[bool] = []

    def held(thread: threading.Thread) -> None:
        if thread.name.startswith(role) and not waited:
            waited.append(True)
            wait()
        run(thread)

    threading.Thread.run = held
    if role == "main":
        wait()


class RawErrors(logging.Handler):
    """Says what a thread of the store logs that is no error of ferrokv's own."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and not isinstance(record.exc_info[1], FerroKVError):
            say("raw", self.format(record))


def tell_of_raw_errors() -> None:
    logging.getLogger("ferrokv").addHandler(RawErrors())
    threading.excepthook = lambda facts: say("raw", repr(facts.exc_value))
    sys.unraisablehook = lambda facts: say("raw", repr(facts.exc_value))


def child(kind: str, role: str, path: str) -> None:
    code = 1
    try:
        ctypes.CDLL(None).prctl(PR_SET_PTRACER, -1, 0, 0, 0)  # or Yama lets strace attach to its own children only
        tell_of_raw_errors()
        hold_threads(role)
        LIVES[kind](path)
        code = 0
    except BaseException:
        say("raw", traceback.format_exc())
    finally:
        os._exit(code)


def serve() -> None:
    """Fork a child for each line of the input; its exit status is the last thing that is said of it."""
    for kind, live in LIVES.items():
        with tempfile.TemporaryDirectory() as path:
            live(f"{path}/{kind}")  # imports what is imported late; what it says is not heard yet
    say("ready")
    for line in iter(lambda: os.read(0, 4096), b""):
        kind, role, path = json.loads(line)
        go, begin = os.pipe()
        pid = os.fork()
        if not pid:
            os.close(begin)
            os.read(go, 1)
            child(kind, role, path)
        say("pid", pid)
        os.close(go)
        os.close(begin)  # Order: the pid is the first thing that is said
        say("status", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


class Server:
    """The end that the tests hold."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.traced"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        while self._hear() != ["ready"]:
            continue

    def _hear(self) -> list[Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise EOFError("the server has ended")
        return json.loads(line)

    def _say(self, data: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(data)
        self._process.stdin.flush()

    def live(self, kind: str, role: str, path: Path, log: Path, *options: str) -> Life:
        """One life, with strace at the thread of `role` from its beginning, given `options`."""
        self._say(json.dumps([kind, role, str(path)]).encode() + b"\n")
        life = Life({}, {}, [], 0, [])
        _, pid = self._hear()
        tracer = None
        hangs = threading.Timer(GUARD_SECONDS, os.kill, (pid, signal.SIGABRT))
        hangs.start()
        try:
            while (heard := self._hear())[0] != "status":
                if heard[0] == "thread":
                    tracer = attach(heard[1], log, options)
                    self._say(b"g")
                else:
                    self._note(life, *heard)
        finally:
            hangs.cancel()
            hangs.join()
        if tracer is not None:
            tracer.communicate()
        injected = re.findall(r".*(?:\(INJECTED\)|killed by SIGKILL).*", log.read_text()) if log.exists() else []
        return life._replace(status=heard[1], injected=injected)

    @staticmethod
    def _note(life: Life, mark: str, *rest: str) -> None:
        if mark == "begin":
            life.begun.setdefault(rest[0], []).append(rest[1])
        elif mark == "ack":
            life.acknowledged[rest[0]] = rest[1]
            life.begun[rest[0]] = []
        else:
            life.errors.append((mark, " ".join(rest)))

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def attach(thread: int, log: Path, options: tuple[str, ...]) -> subprocess.Popen[str]:
    """strace, once it is attached to one thread."""
    command = ["strace", "-y", "-o", str(log), *options, "-p", str(thread)]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert tracer.stderr is not None
    line = tracer.stderr.readline()
    if "attached" not in line:
        tracer.communicate()
        raise PermissionError(line)
    return tracer


if __name__ == "__main__":
    serve()
