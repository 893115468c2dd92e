"""What the workers of a soak do, step by step, each told to the oracle.

A slot is a role's place, which one process after the other takes. Each key has one writer at a time, a lane of a slot, and its
values are numbered upwards, so that the oracle can judge a read by two numbers.
"""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

from . import LANES, OPTIONS
from .page import Page
from .saying import DELETES, ROUND, measure, number_of, say, told, value_of

ROLE, SLOT, GENERATION, DIRECTORY = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
PAGE = Page(Path(sys.argv[5]))
PAGE.wrong_clock()  # before the imports below

from ferrokv import BlockingFerroKV, WriteBatch  # noqa: E402

KEYS = 12  # of each lane
HOUR = 3600
JOBS_MAX = 60
MEASURE_SECONDS = 2.0
random = Random(f"{ROLE} {SLOT} {GENERATION}")
leaving = threading.Event()
clock_was_right = True


def keeps_time() -> bool:
    """True if this process has never seen a wrong clock: only such a one judges keys that live for an hour."""
    global clock_was_right
    clock_was_right = clock_was_right and PAGE.clock_ns == 0
    return clock_was_right


class Numbers:
    """Ascending numbers for the writes of one lane, above those of all generations before."""

    def __init__(self, first: int = 0) -> None:
        self._last = GENERATION * 10_000_000 + first

    def next(self) -> int:
        self._last += 1
        return self._last


def key_of(slot: int, lane: str, k: int) -> str:
    return f"own:{slot}:{lane}:{k}"


def write_own(db: BlockingFerroKV, lane: str, numbers: Numbers) -> None:
    key, number = key_of(SLOT, lane, random.randrange(KEYS)), numbers.next()
    with told("set", key, number) as call:
        if number % ROUND == DELETES:
            db.delete(key)
        else:
            db.set(key, value_of(number))
        call.answer = "done"


def write_hour(db: BlockingFerroKV, numbers: Numbers) -> None:
    """A key that lives for an hour, whatever the clocks of other processes say."""
    if keeps_time():
        key, number = f"hour:{SLOT}:{random.randrange(KEYS)}", numbers.next() // ROUND * ROUND
        if number > getattr(write_hour, "last", 0):
            write_hour.last = number
            with told("set", key, number) as call:
                db.set(key, value_of(number), ex=HOUR)
                call.answer = "done"


def read_any(db: BlockingFerroKV) -> None:
    lanes = [(slot, lane) for slot, names in LANES.items() for lane in names]
    slot, lane = random.choice(lanes)
    key = key_of(slot, lane, random.randrange(KEYS))
    if random.random() < 0.1 and keeps_time():
        key = f"hour:{random.choice((0, 4))}:{random.randrange(KEYS)}"
    with told("read", key) as call:
        call.answer = number_of(db.get(key))


def count(db: BlockingFerroKV) -> None:
    with told("incr", "n") as call:
        call.answer = db.incr("n")


def churn(db: BlockingFerroKV, numbers: Numbers) -> None:
    """Records that are dead soon, so that levels fill and have to come back."""
    with told("churn", 3000) as call:
        batch = WriteBatch()
        for _ in range(3):
            batch.set(f"churn:{SLOT}:{numbers.next()}", b"c" * 1000, px=random.randrange(100, 2000))
        call.answer = db.write(batch)


def transfer(db: BlockingFerroKV) -> None:
    """From one account to another: their sum is zero in every state."""
    source, target = random.sample(range(8), 2)

    def move(tx: object) -> bool:
        tx.decrby(f"account:{source}", 1)
        tx.incrby(f"account:{target}", 1)
        return True

    with told("other", "transfer") as call:
        call.answer = db.transaction(move)


def write_pair(db: BlockingFerroKV, numbers: Numbers) -> None:
    number = numbers.next()
    with told("other", "pair") as call:
        call.answer = db.write(WriteBatch().set("pair:a", number).set("pair:b", number))


def guard(db: BlockingFerroKV) -> None:
    """Count with a read and a write, which only a lock makes one."""
    name = f"L{random.randrange(2)}"
    lock = db.lock(name, sleep=0.01)
    with told("lock", name) as call:
        call.answer = int(lock.acquire(blocking_timeout=0.3))
    if call.answer == 1:
        with told("incr", f"guarded:{name}") as call:
            call.answer = int(db.get(f"guarded:{name}") or 0) + 1
            db.set(f"guarded:{name}", call.answer)
        with told("unlock", name) as call:
            lock.release()
            call.answer = "done"
        if call.answer is None:
            say("B lock-kept: it could not be released, and is free once this process has ended")
            leaving.set()


def push(db: BlockingFerroKV, numbers: Numbers) -> None:
    if db.llen("jobs") < JOBS_MAX:
        job = f"{SLOT}.{numbers.next()}"
        with told("push", job) as call:
            call.answer = db.rpush("jobs", job)


def pop(db: BlockingFerroKV) -> None:
    with told("pop") as call:
        found = db.blpop("jobs", timeout=0.3)
        call.answer = found[1].decode() if found else "none"


def repeat(step: Callable[[], None]) -> None:
    """Repeat a step until SIGTERM, or until another thread met what ends the process. The main thread measures now and then."""
    measured = 0.0
    try:
        while not leaving.is_set():
            step()
            if threading.current_thread() is threading.main_thread() and time.monotonic() - measured > MEASURE_SECONDS:
                measured = time.monotonic()
                measure()
    finally:
        leaving.set()


def run_writer(db: BlockingFerroKV) -> None:
    numbers = Numbers()
    steps = [
        lambda: write_own(db, "0", numbers),
        lambda: write_hour(db, numbers),
        lambda: count(db),
        lambda: churn(db, numbers),
        lambda: transfer(db),
        lambda: write_pair(db, numbers),
        lambda: guard(db),
    ]
    repeat(lambda: random.choices(steps, (8, 2, 4, 6, 2, 2, 1))[0]())


def run_reader(db: BlockingFerroKV) -> None:
    held = [(snapshot := db.snapshot(), list(snapshot.scan()), time.monotonic())]

    def step() -> None:
        for _ in range(50):
            read_any(db)
        with db.snapshot() as now:
            accounts = sum(int(now.get(f"account:{i}") or 0) for i in range(8))
            a, b = now.get("pair:a"), now.get("pair:b")
            forwards = [key for key, _ in now.scan(prefix="own:")]
            backwards = [key for key, _ in now.scan(prefix="own:", reverse=True)]
        if accounts or a != b or forwards != backwards[::-1]:
            say(f"X a torn state: sum={accounts} pair={a!r},{b!r} keys={len(forwards)},{len(backwards)}")
        snapshot, seen, since = held[0]
        if time.monotonic() - since > 5 and not is_the_same(seen, list(snapshot.scan())):
            say("X a snapshot changed")
        if time.monotonic() - since > 5:
            snapshot.close()
            held[0] = (snapshot := db.snapshot(), list(snapshot.scan()), time.monotonic())

    try:
        repeat(step)
    finally:
        held[0][0].close()


def is_the_same(before: list[tuple[bytes, bytes]], after: list[tuple[bytes, bytes]]) -> bool:
    """Whether a snapshot shows what it did, but for keys with a TTL, which go when their time comes."""
    mortal = (b"churn:", b"hour:")
    return [pair for pair in before if not pair[0].startswith(mortal)] == [
        pair for pair in after if not pair[0].startswith(mortal)
    ]


def run_keeper(db: BlockingFerroKV) -> None:
    target = Path(DIRECTORY).parent / "backup"

    def flush() -> None:
        with told("other", "flush"):
            db.flush()

    def compact() -> None:
        with told("other", "compact"):
            db.compact()

    def verify() -> None:
        with told("other", "verify"):
            for problem in db.verify().problems:
                say(f"X verify() found damage: {problem}")

    def back_up() -> None:
        shutil.rmtree(target, ignore_errors=True)
        with told("other", "backup") as call:
            call.answer = db.backup(target).tables
        if call.answer is not None:
            with told("other", "copy"), BlockingFerroKV.open(target, **OPTIONS) as copy:
                for problem in copy.verify().problems:
                    say(f"X verify() found damage in a backup: {problem}")
        shutil.rmtree(target, ignore_errors=True)

    def step() -> None:
        random.choices((flush, compact, verify, back_up), (6, 2, 2, 1))[0]()
        leaving.wait(random.uniform(0, 0.5))

    repeat(step)


def run_collections(db: BlockingFerroKV) -> None:
    numbers, pushed, hours = Numbers(), Numbers(), Numbers()

    def mixed() -> None:
        name = f"hash:{random.randrange(4)}"
        with told("other", "hash"):
            db.hset(name, f"field:{random.randrange(50)}", b"x" * 100)
            db.sadd("set", random.randrange(200))
            db.zadd("scores", {f"m{random.randrange(200)}": random.random()})
            if random.random() < 0.05:
                db.delete(name)
        with db.snapshot() as now:
            if now.hlen(name) != len(now.hkeys(name)):
                say("X a hash counts wrongly")

    steps = (mixed, lambda: write_own(db, "0", numbers), lambda: write_hour(db, hours))
    with ThreadPoolExecutor(3) as pool:
        others = (lambda: push(db, pushed), lambda: pop(db), lambda: guard(db))
        ended = [pool.submit(repeat, step) for step in others]
        repeat(lambda: random.choice(steps)())
        for future in ended:
            future.result()
