"""One process of a soak: `python -m tests.processes.soak.worker ROLE SLOT GENERATION DIRECTORY PAGE DISK`. Ends well on SIGTERM.

DISK is "mounted" or "limited". Exit codes: 0 after SIGTERM, 3 when the store failed, 4 when it could not be opened yet, 1 for what
must not be, which is said as well.
"""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import signal
import sys
import traceback

from .steps import (
    DIRECTORY,
    GENERATION,
    KEYS,
    PAGE,
    ROLE,
    SLOT,
    Numbers,
    churn,
    count,
    guard,
    key_of,
    leaving,
    random,
    read_any,
    repeat,
    run_collections,
    run_keeper,
    run_reader,
    run_writer,
    write_own,
)

from ferrokv import BlockingFerroKV, FerroKV  # isort: skip - behind the clock
from ferrokv.errors import StoreBusy, StoreFailed, StoreFull

from . import ASYNC_TASKS, FORKS, LANES, OPTIONS
from .saying import DELETES, ROUND, measure, number_of, say, told, value_of

CHILD_STEPS = 12


async def run_asyncio() -> None:
    jobs = Numbers()
    async with await FerroKV.open(DIRECTORY, **OPTIONS) as db:

        async def task(lane: str) -> None:
            numbers = Numbers()
            while not leaving.is_set():
                for _ in range(random.randrange(1, 20)):
                    key, number = key_of(SLOT, lane, random.randrange(KEYS)), numbers.next()
                    with told("set", key, number) as call:
                        if number % ROUND == DELETES:
                            await db.delete(key)
                        else:
                            await db.set(key, value_of(number))
                        call.answer = "done"
                    with told("read", key) as call:
                        call.answer = number_of(await db.get(key))
                with told("incr", "n") as call:
                    call.answer = await db.incr("n")

        async def queue() -> None:
            while not leaving.is_set():
                job = f"{SLOT}.{jobs.next()}"
                with told("push", job) as call:
                    call.answer = await db.rpush("jobs", job)
                with told("pop") as call:
                    found = await db.blpop("jobs", timeout=0.2)
                    call.answer = found[1].decode() if found else "none"

        async def measuring() -> None:
            while not leaving.is_set():
                measure()
                await asyncio.sleep(2)

        async with asyncio.TaskGroup() as group:
            for i in range(ASYNC_TASKS):
                group.create_task(task(f"t{i}"))
            group.create_task(queue())
            group.create_task(measuring())


def open_cache() -> object:
    """Django's default cache on the store."""
    from django.conf import settings

    backend = "ferrokv.contrib.django.FerroKVCache"
    settings.configure(
        SECRET_KEY="soak",
        USE_TZ=True,
        CACHES={"default": {"BACKEND": backend, "LOCATION": DIRECTORY, "OPTIONS": OPTIONS}},
    )
    from django.core.cache import cache

    return cache


def run_django() -> None:
    cache, numbers = open_cache(), Numbers()

    def write() -> None:
        k, number = random.randrange(KEYS), numbers.next()
        with told("set", f"cache:{k}", number) as call:
            if number % ROUND == DELETES:
                cache.delete(k)
            else:
                cache.set(k, value_of(number).decode(), timeout=None, tags=[f"tag:{k}"])
            call.answer = "done"

    def read() -> None:
        k = random.randrange(KEYS)
        with told("read", f"cache:{k}") as call:
            call.answer = number_of(cache.get(k))

    def count_hits() -> None:
        with told("incr", "hits") as call:
            cache.add("hits", 0, timeout=None)
            call.answer = cache.incr("hits")

    def by_tag() -> None:
        k, number = random.randrange(KEYS), numbers.next() // ROUND * ROUND + ROUND + DELETES
        while numbers.next() < number:
            continue
        with told("set", f"cache:{k}", number) as call:
            cache.delete_tag(f"tag:{k}")
            call.answer = "done"

    def many() -> None:
        with told("other", "pipelined"), cache.pipelined():
            cache.set_many({f"page:{random.randrange(100)}": "p" * 300 for _ in range(5)}, timeout=60)
            cache.get_or_set("report", lambda: 42, timeout=30)

    steps = (write, read, count_hits, by_tag, many)
    repeat(lambda: random.choices(steps, (6, 6, 2, 1, 1))[0]())


def run_forker(db: BlockingFerroKV) -> None:
    numbers = Numbers()
    lanes = {f"c{i}": Numbers() for i in range(FORKS)}
    children: dict[str, int] = {}

    def child(lane: str) -> None:
        """A forked child goes on with the handle that it finds."""
        code = 1
        try:
            for _ in range(CHILD_STEPS):
                write_own(db, lane, lanes[lane])
                count(db)
            guard(db)
            db.close()
            code = 0
        except StoreFailed:
            code = 3
        except BaseException:
            complain()
        finally:
            os._exit(code)

    def reap(lane: str, options: int) -> None:
        if lane in children and os.waitpid(children[lane], options)[0]:
            del children[lane]
            for _ in range(CHILD_STEPS):
                lanes[lane].next()  # the child's copy of the numbers went on, this one did not

    def step() -> None:
        write_own(db, "0", numbers)
        churn(db, numbers)
        read_any(db)
        lane = random.choice(list(lanes))
        if random.random() < 0.1:
            if random.random() < 0.3 and lane in children:
                os.kill(children[lane], signal.SIGKILL)
            reap(lane, 0)
            pid = os.fork()
            if pid == 0:
                child(lane)
            children[lane] = pid
        reap(lane, os.WNOHANG)

    try:
        repeat(step)
    finally:
        for lane in list(children):
            reap(lane, 0)


def check() -> None:
    """Read everything back, for the oracle to judge."""
    cache = open_cache()
    with BlockingFerroKV.open(DIRECTORY, **OPTIONS) as db:
        keys = [key_of(slot, lane, k) for slot, lanes in LANES.items() for lane in lanes for k in range(KEYS)]
        for key in keys + [f"hour:{slot}:{k}" for slot in (0, 4) for k in range(KEYS)]:
            with told("read", key) as call:
                call.answer = number_of(db.get(key))
        for k in range(KEYS):
            with told("read", f"cache:{k}") as call:
                call.answer = number_of(cache.get(k))
        for name in ("n", "guarded:L0", "guarded:L1"):
            with told("count", name) as call:
                call.answer = int(db.get(name) or 0)
        with told("count", "hits") as call:
            call.answer = int(cache.get("hits") or 0)
        if sum(int(db.get(f"account:{i}") or 0) for i in range(8)):
            say("X the accounts do not add up")
        for job in db.lrange("jobs", 0, -1):
            say(f"L {job.decode()}")
        for name in (*(f"hash:{i}" for i in range(4)), "set", "scores"):
            db.type(name)
        for problem in db.verify().problems:
            say(f"X verify() found damage: {problem}")


def complain() -> None:
    say(("X " + traceback.format_exc()[-1500:]).replace("\n", " | "))


def run() -> None:
    if ROLE == "asyncio":
        asyncio.run(run_asyncio())
    elif ROLE == "django":
        run_django()
    elif ROLE == "check":
        check()
    else:
        read_only = ROLE == "reader" and GENERATION % 3 == 2
        runs = {
            "writer": run_writer,
            "reader": run_reader,
            "keeper": run_keeper,
            "collections": run_collections,
            "forker": run_forker,
        }
        with BlockingFerroKV.open(DIRECTORY, read_only=read_only, **OPTIONS) as db:
            runs[ROLE](db)


class Errors(logging.Handler):
    """Says what ferrokv logs as an error, such as why a store failed: whoever met it first may not live to tell."""

    def emit(self, record: logging.LogRecord) -> None:
        say(f"E {record.getMessage()}".replace("\n", " ")[:1000])


def main() -> int:
    faulthandler.enable()  # one that hangs is ended by SIGABRT, and shows where it stood
    logging.getLogger("ferrokv").addHandler(Errors(logging.ERROR))
    signal.signal(signal.SIGTERM, lambda *_: leaving.set())
    if sys.argv[6] == "limited":
        PAGE.limited_disk()
    try:
        run()
    except BaseException as error:
        return judge(error)
    return 0


def judge(error: BaseException) -> int:
    """The exit code for what ended this process."""
    errors = error.exceptions if isinstance(error, BaseExceptionGroup) else (error,)
    for expected, mark, code in ((StoreFailed, "F", 3), (StoreBusy, "B", 4), (StoreFull, "B", 4)):
        if all(isinstance(one, expected) for one in errors):
            say(f"{mark} {type(errors[0]).__name__} {errors[0]}".replace("\n", " "))
            return code
    complain()
    return 1


if __name__ == "__main__":
    sys.exit(main())
