"""What a worker says, which is all that the oracle knows. One line, one write: nothing that was said is lost with the process.

`> call time kind arguments` before each call, `< call time answer` behind it, `! call time error` for an error by name, after which
nobody knows whether it happened; `X text` for what must never be seen, `S {...}` for a measurement of the process itself.
"""

from __future__ import annotations

import itertools
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

ROUND = 10  # one number in ten deletes
DELETES = 9
_ids = itertools.count()


class Call:
    """One call: `answer` is what came of it, None if it failed by name."""

    def __init__(self) -> None:
        self.answer: object = None


def say(text: str) -> None:
    os.write(1, text.encode() + b"\n")


@contextmanager
def told(kind: str, *arguments: object) -> Iterator[Call]:
    """Say what is begun and what came of it. `StoreBusy` and `StoreFull` end the block, and then the worker does something else."""
    from ferrokv.errors import FerroKVError, StoreBusy, StoreFull

    call, name = Call(), f"{os.getpid()}.{next(_ids)}"
    say(" ".join((">", name, str(time.monotonic_ns()), kind, *map(str, arguments))))
    try:
        yield call
    except FerroKVError as error:
        call.answer = None
        say(f"! {name} {time.monotonic_ns()} {type(error).__name__} {error}".replace("\n", " ")[:2000])
        if not isinstance(error, StoreBusy | StoreFull):
            raise
    else:
        say(f"< {name} {time.monotonic_ns()} {call.answer}")


def value_of(number: int) -> bytes:
    """The value that a key has after write `number`; a few are large."""
    size = 20_000 if number % 97 == 0 else number * 7919 % 1200
    return b"%d:" % number + b"%d," % number * (size // 8)


def number_of(value: bytes | str | None) -> str:
    """The number of the write that left this value: "none" for a missing one, "garbage" for what nobody wrote."""
    if value is None:
        return "none"
    raw = value.encode() if isinstance(value, str) else bytes(value)
    head = raw.partition(b":")[0]
    return head.decode() if head.isdigit() and raw == value_of(int(head)) else f"garbage:{raw[:40].hex()}"


def measure() -> None:
    """Say what this process holds."""
    with open("/proc/self/statm", encoding="ascii") as file:
        pages = int(file.read().split()[1])
    open_files = []
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # that of the listing itself, or of another thread
            open_files.append(os.readlink(f"/proc/self/fd/{descriptor}"))
    removed = sum(name.endswith("(deleted)") for name in open_files)
    tables = sum(name.endswith(".sst") for name in open_files)
    facts = {
        "time": time.monotonic(),
        "descriptors": len(open_files) - tables - removed,
        "tables_open": tables,
        "removed_open": removed,
        "threads": threading.active_count(),
        "rss_kib": pages * os.sysconf("SC_PAGE_SIZE") // 1024,
    }
    say(f"S {json.dumps(facts)}")
