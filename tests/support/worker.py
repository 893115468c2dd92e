"""A process that hammers a store until it is killed, and says on its standard output what it began and what was acknowledged.

`python -m tests.support.worker DIRECTORY SEED CALLS OPTIONS`; CALLS 0 is without end. Lines: `> kind key argument time` before each
call, `< answer time` behind it, `! error` for what must not happen.
"""

from __future__ import annotations

import json
import os
import sys
import time
from random import Random

from ferrokv import BlockingFerroKV, FerroKVError

KEYS = ("a", "b", "c", "n")


def choose(random: Random, seed: int, i: int) -> tuple[str, str, str]:
    """The next call: kind, key, argument. A third go to keys of this process alone."""
    draw = random.randrange(12)
    if draw < 4:
        return "set", f"own:{seed}:{i % 50}", str(i)
    if draw < 7:
        return "incr", "n", "1"
    if draw < 9:
        return "get", random.choice(KEYS), "-"
    if draw == 9:
        return "set", random.choice(KEYS[:3]), str(i * 1000 + seed)
    if draw == 10:
        return "setnx", random.choice(KEYS[:3]), str(i * 1000 + seed)
    return "delete", random.choice(KEYS[:3]), "-"


def carry_out(db: BlockingFerroKV, kind: str, key: str, argument: str) -> object:
    if kind == "get":
        value = db.get(key)
        return None if value is None else value.decode()
    if kind == "incr":
        return db.incr(key, int(argument))
    if kind == "delete":
        return db.delete(key)
    return db.set(key, argument, nx=kind == "setnx")


def main() -> None:
    path, seed, calls = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    random = Random(seed)

    def say(line: str) -> None:
        os.write(1, line.encode() + b"\n")  # one write, at once: nothing that was said is lost with the process

    try:
        with BlockingFerroKV.open(path, **json.loads(sys.argv[4])) as db:
            i = 0
            while not calls or i < calls:
                i += 1
                kind, key, argument = choose(random, seed, i)
                say(f"> {kind} {key} {argument} {time.monotonic_ns()}")
                answer = carry_out(db, kind, key, argument)
                say(f"< {json.dumps(answer)} {time.monotonic_ns()}")
                if random.random() < 0.002:
                    (db.flush if random.random() < 0.7 else db.compact)()
    except FerroKVError as error:
        say(f"! {type(error).__name__} {error}")


if __name__ == "__main__":
    main()
