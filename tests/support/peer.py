"""A process of its own that has a store open and does what it is told, one JSON line after the other.

`Peer` is the end that tests hold; `python -m tests.support.peer DIRECTORY [OPTIONS]` is the other.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import ferrokv
from ferrokv import BlockingFerroKV
from ferrokv.local.storage.requests import Sync, WriteAt

ROOT = Path(__file__).parent.parent.parent


def leave_with(work: Callable[[], int | None]) -> NoReturn:
    """End a forked child, whatever happens, with the exit code that `work` returns, None for 0; 99 if it raises."""
    code = 99
    try:
        code = work() or 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


class PeerError(Exception):
    """What the call raised in the other process: `args` are the class's name and the message."""


class Peer:
    """The other process. `call` waits for the answer; `send` and `receive` are its two halves."""

    def __init__(self, path: Path, **options: Any) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.peer", str(path), json.dumps(options)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    @property
    def pid(self) -> int:
        return self.process.pid

    def call(self, kind: str, *arguments: Any) -> Any:
        self.send(kind, *arguments)
        return self.receive()

    def send(self, kind: str, *arguments: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([kind, *arguments]) + "\n")
        self.process.stdin.flush()

    def receive(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line.endswith("\n"):
            raise EOFError("the peer has ended")
        kind, answer = json.loads(line)
        if kind == "error":
            raise PeerError(*answer)
        return answer

    def wait_until_stopped(self) -> None:
        """Return once it has told that it is stalled and has stopped."""
        assert self.receive() == "stalled"
        _, status = os.waitpid(self.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)

    def go_on(self) -> None:
        """Have it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        self.process.kill()
        self.end()

    def end(self) -> None:
        """Close its input, so that it ends by itself, and wait."""
        self.process.communicate()

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


def stall_next(db: BlockingFerroKV, kind: type) -> None:
    """Have the next write or sync of a commit tell the parent, and stop this process, with the lock held. A write is half done.

    SIGCONT lets it go on.
    """
    actions = db._store.storage._actions
    perform = actions[kind]

    def stalled(request: Any) -> None:
        actions[kind] = perform
        if kind is WriteAt:
            perform(request._replace(data=request.data[: len(request.data) // 2]))
        print(json.dumps(["note", "stalled"]), flush=True)
        os.kill(os.getpid(), signal.SIGSTOP)
        perform(request)

    actions[kind] = stalled


_taken: list[Any] = []  # locks


def answer(db: BlockingFerroKV, kind: str, arguments: list[Any]) -> Any:
    """Do one thing; bytes are answered as text."""
    if kind == "stall":
        return stall_next(db, {"write": WriteAt, "sync": Sync}[arguments[0]])
    if kind == "setnx":
        return db.set(*arguments, nx=True)
    if kind == "stats":
        return db.stats()._asdict()
    if kind == "limit":
        return resource.setrlimit(resource.RLIMIT_NOFILE, (arguments[0], arguments[0]))
    if kind == "take_lock":
        return db.lock(*arguments).acquire()
    if kind == "take_deferred_lock":
        _taken.append(db.within(db.deferral()).lock(*arguments))
        return _taken[-1].acquire()
    if kind == "release_deferred_lock":
        return _taken.pop().release()
    if kind == "fill":
        for i in range(arguments[0]):
            db.set(f"fill:{i}", "v" * 100)
        return arguments[0]
    if kind == "scan":
        return [[key.decode(), value.decode()] for key, value in db.scan()]
    found = getattr(db, kind)(*arguments)
    return found.decode() if isinstance(found, bytes) else found


def timed(db: BlockingFerroKV, kind: str, arguments: list[Any]) -> Any:
    """The answer, and when the call began and ended, by the clock that all processes share."""
    began = time.monotonic_ns()
    found = answer(db, kind, arguments)
    return [found, began, time.monotonic_ns()]


def main() -> None:
    options = json.loads(sys.argv[2])
    limit = options.pop("descriptors", None)
    if limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    db: BlockingFerroKV | None = None
    for line in sys.stdin:
        kind, *arguments = json.loads(line)
        try:
            if db is None:
                db = BlockingFerroKV.open(sys.argv[1], **options)
            found = timed(db, arguments[0], arguments[1:]) if kind == "timed" else answer(db, kind, arguments)
            print(json.dumps(["answer", found]), flush=True)
        except ferrokv.FerroKVError as error:
            print(json.dumps(["error", [type(error).__name__, str(error)]]), flush=True)
    if db is not None:
        db.close()


if __name__ == "__main__":
    main()
