"""Waiting for keys: waiters, whom a commit wakes, and how processes wake each other.

Waiters. Somebody who waits for keys arms a `Waiter` for them, then looks at the keys once more, and
sleeps only if there is still nothing. A commit before the arming is seen by that look; one after it
wakes the waiter. To be armed is to stand in the line of each key. When a commit is shown,
`WaiterIndex.show` compares its keys with the lines and wakes waiters, which take themselves out of all
lines.

Takers. A waiter for changes is woken by every commit to its keys. Waiters for elements and for
locks are takers: what one of them takes, no other can. A commit wakes as many of them as it has
something for, minus those that are awake already, first come, first served. A taker that was woken
either takes something, or finds nothing and arms again, at the front of the line, or leaves; if it
leaves without having taken anything, the next in line is woken for it. If it does none of these
within a second or two (its event loop may hang), `tick` wakes the next one.

Between processes. One thread of a process sleeps for all of its waiters, on the word WAKES of the
control page (`sleep_until_news`). It first sets the ARMED word of its process's slot, and WAITED.
The process that syncs a commit and stores COMMIT wakes the sleepers if WAITED is set
(`wake_waiting`). A process with waiters of its own may have set WAITED itself, so it also looks for
another slot that is ARMED. The sleeper stores WAITED and then loads COMMIT; the writer stores
COMMIT and then loads WAITED; and each has a full fence in between. So at least one of the two sees
the other's store. If a wake-up is lost nevertheless, because the writer died before it, the sleeper
looks by itself after a second.

See docs/format.md section 7 and docs/decisions/0019-waiting.md.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Literal

from ...errors import StoreClosed
from ..format.commits import Entry
from ..format.control import APPENDED, ARMED, COMMIT, FIRST_SLOT, LOCK_WAITED, SLOT_WORDS, SLOTS, WAITED, WAKES
from ..format.roots import Root, size_of
from ..tree.view import Catalogue

if TYPE_CHECKING:
    from .engine import Engine

Kind = Literal["changes", "elements", "locks"]
"""What a waiter waits for: any change of a key, an element to take, or a lock to take."""
WAKES_MASK: Final = 0xFFFFFFFF
LOCK_WAITED_MS: Final = 3_000


class Waiter:
    """Somebody who waits for keys.

    It belongs to one thread or task; its attributes to the engine's lock.
    """

    __slots__ = ("channel", "holder", "is_over", "is_woken", "keys", "kind", "owner", "wanted", "woken_for")

    def __init__(
        self, kind: Kind, wanted: list[tuple[str, bytes]], owner: object = None, channel: object = None
    ) -> None:
        self.kind: Kind = kind
        self.wanted = wanted  # keyspace and user key
        self.owner = owner  # the handle through which it waits
        self.channel: Any = channel  # waiters of one channel are told together: an event loop, or None for threads
        self.holder = ""  # the announcement of the process that holds the lock it waits for
        self.keys: tuple[bytes, ...] = ()  # the internal keys in whose lines it stands
        self.woken_for: bytes | None = None  # the key it was woken for, until it arms again or leaves
        self.is_woken = False  # True if it was woken since it was armed
        self.is_over = False  # True if its handle was closed

    def prepare(self) -> None:
        """Get ready to be told. Called when the waiter is armed."""


class _KeyWaiters:
    """The waiters of one key.

    Takers that were woken are in `awake` until they arm again or leave. The value is False at
    first, and True after a tick has found them there.
    """

    __slots__ = ("asleep", "awake")

    def __init__(self) -> None:
        self.asleep: OrderedDict[Waiter, None] = OrderedDict()
        self.awake: dict[Waiter, bool] = {}


class WaiterIndex:
    """All waiters of a process on one store. All methods must be called under the engine's lock."""

    def __init__(self) -> None:
        self.armed: dict[Waiter, None] = {}
        self.woken = 0  # how many were woken so far
        self.tell: Callable[[Any, list[Waiter]], bool] = lambda channel, waiters: True
        """Tells waiters of one channel that they are woken.

        Returns False if the channel is gone.
        """
        self._lines: dict[Kind, dict[bytes, _KeyWaiters]] = {"changes": {}, "elements": {}, "locks": {}}
        self._closed = False

    def arm(self, waiter: Waiter, catalogue: Catalogue) -> None:
        """Put a waiter into the lines of its keys, so that a commit wakes it.

        A taker that was woken and found nothing goes to the front of the line. Raises `StoreClosed`
        if the store or the waiter's handle was closed.
        """
        if self._closed or waiter.is_over:
            raise StoreClosed("the store or the handle was closed while somebody waited; open it again")
        if waiter in self.armed:
            if not waiter.is_woken:
                return
            self._take_out(waiter)  # a signal handler interrupted `_wake` after telling it
        is_back = self._settle(waiter) is not None
        waiter.prepare()
        waiter.is_woken = False
        waiter.keys = _internal_keys(waiter, catalogue)
        self.armed[waiter] = None
        lines = self._lines[waiter.kind]
        for key in waiter.keys:
            line = lines.setdefault(key, _KeyWaiters())
            line.asleep[waiter] = None
            if is_back:
                line.asleep.move_to_end(waiter, last=False)

    def leave(self, waiter: Waiter, *, took: bool = False) -> None:
        """Remove a waiter that stops waiting.

        If it was woken for something that it did not take, the next in line is woken for it. For
        locks, the next in line is woken even if this waiter `took` the lock, or if it was the first
        in line and not woken.
        """
        if waiter in self.armed:
            next_to = [key for key in waiter.keys if waiter.kind == "locks" and self.is_first(waiter)]
            self._take_out(waiter)
        else:
            key = self._settle(waiter)
            next_to = [key] if key is not None and (not took or waiter.kind == "locks") else []
        for key in next_to:
            self._wake_line(waiter.kind, key, 1)

    def is_first(self, waiter: Waiter) -> bool:
        """Return True if the waiter is the next to be woken for its key.

        Only this one watches for the lock's expiry; otherwise all would wake when the lock expires.
        """
        line = self._lines[waiter.kind].get(waiter.keys[0]) if waiter.keys else None
        return line is None or next(iter(line.asleep), waiter) is waiter

    def show(self, entries: dict[bytes, Entry]) -> None:
        """Wake the waiters for the keys that a commit wrote."""
        for kind, lines in self._lines.items():
            for key in lines.keys() & entries.keys() if lines else ():
                line = lines.get(key)
                if line is not None:
                    self._wake_line(kind, key, self._share(kind, entries[key][0]) - len(line.awake))

    def move(self, catalogue: Catalogue) -> None:
        """Wake the waiters whose internal keys have changed with the catalogue."""
        self._wake([waiter for waiter in self.armed if waiter.keys != _internal_keys(waiter, catalogue)])

    def wake_all(self) -> None:
        """Wake all waiters, so that they look again."""
        self._wake(list(self.armed))

    def end_for(self, owner: object) -> None:
        """End the waiting of all who wait through a handle that is being closed."""
        over = [waiter for waiter in self.armed if waiter.owner is owner]
        for waiter in over:
            waiter.is_over = True
        self._wake(over)

    def close(self) -> None:
        """End the waiting of all, and let nobody wait any more."""
        self._closed = True
        self.wake_all()

    @property
    def waits_for_locks(self) -> bool:
        """True if somebody waits for a lock."""
        return bool(self._lines["locks"])

    def holders(self) -> set[str]:
        """Return the announcements of the processes that hold the locks which waiters wait for."""
        heads = (next(iter(line.asleep), None) for line in self._lines["locks"].values())
        return {head.holder for head in heads if head is not None and head.holder}

    def wake_heirs(self, dead: set[str] | None) -> None:
        """Wake the first in line for each lock of the `dead` processes; for all locks if None."""
        for key, line in list(self._lines["locks"].items()):
            head = next(iter(line.asleep), None)
            if head is not None and (dead is None or head.holder in dead):
                self._wake_line("locks", key, 1)

    def tick(self, is_over: Callable[[Any], bool]) -> None:
        """Do what is due once a second.

        Forget waiters whose channel is gone, such as a closed event loop. If a taker was woken
        before the last tick and has not reacted since, wake the next one in its line.
        """
        for channel in [channel for channel in {waiter.channel for waiter in self.armed} if is_over(channel)]:
            self._forget_channel(channel)
        for kind, lines in self._lines.items():
            for key, line in [(key, line) for key, line in lines.items() if line.awake]:
                slow = [waiter for waiter, was_seen in line.awake.items() if was_seen]
                line.awake = {waiter: True for waiter in line.awake if waiter not in slow}
                self._wake_line(kind, key, len(slow))

    def _share(self, kind: Kind, value: bytes | None) -> int:
        """Return how many waiters a record that was written has something for."""
        if kind == "changes":
            return len(self.armed)
        if kind == "elements":
            return size_of(value) if isinstance(value, Root) else 0
        return 1

    def _wake_line(self, kind: Kind, key: bytes, count: int) -> None:
        line = self._lines[kind].get(key)
        if line is None:
            return
        self._wake(list(islice(line.asleep, max(0, count))), key)
        self._forget_empty(kind, key)

    def _wake(self, waiters: list[Waiter], key: bytes | None = None) -> None:
        """Tell waiters that they are woken, and take them out of their lines.

        Order: tell them first. If a signal handler raises in between, the commit is shown again,
        and those that are still in line are told again.
        """
        channels: dict[Any, list[Waiter]] = {}
        for waiter in waiters:
            waiter.is_woken = True
            channels.setdefault(waiter.channel, []).append(waiter)
        for channel, told in channels.items():
            is_there = self.tell(channel, told)
            for waiter in told:
                if key is not None and waiter.kind != "changes":
                    waiter.woken_for = key
                    self._lines[waiter.kind][key].awake[waiter] = False
                self._take_out(waiter)
            self.woken += len(told)
            if not is_there:
                self._forget_channel(channel)
                for waiter in told:
                    self.leave(waiter)

    def _forget_channel(self, channel: Any) -> None:
        for waiter in [waiter for waiter in self.armed if waiter.channel is channel]:
            self._take_out(waiter)

    def _take_out(self, waiter: Waiter) -> None:
        self.armed.pop(waiter, None)
        for key in waiter.keys:
            line = self._lines[waiter.kind].get(key)
            if line is not None:
                line.asleep.pop(waiter, None)
                self._forget_empty(waiter.kind, key)

    def _settle(self, waiter: Waiter) -> bytes | None:
        """Clear what the waiter was woken for, and return that key."""
        key, waiter.woken_for = waiter.woken_for, None
        line = None if key is None else self._lines[waiter.kind].get(key)
        if key is not None and line is not None:
            line.awake.pop(waiter, None)
            self._forget_empty(waiter.kind, key)
        return key

    def _forget_empty(self, kind: Kind, key: bytes) -> None:
        line = self._lines[kind].get(key)
        if line is not None and not line.asleep and not line.awake:
            del self._lines[kind][key]


def _internal_keys(waiter: Waiter, catalogue: Catalogue) -> tuple[bytes, ...]:
    found = [(catalogue.prefixes.get(keyspace), key) for keyspace, key in waiter.wanted]
    return tuple({prefix + key: None for prefix, key in found if prefix is not None})


def sleep_until_news(engine: Engine, seconds: float) -> None:
    """Sleep until another process may have committed, for at most `seconds`. Blocks.

    Only one thread of a process may call this.

    Order: load WAKES first, then store ARMED and WAITED, then load COMMIT. A writer that stores
    COMMIT after that load finds WAITED set, and wakes this thread. Or another writer has found it
    set and cleared it meanwhile; then WAKES has changed, and the kernel does not put this thread to
    sleep.
    """
    words, slot = engine.words, engine.slot
    if slot is None:  # read-only, so it cannot say that it waits
        engine.storage.wait_for_word(words, WAKES, 0, seconds)
        return
    seen = words[WAKES]
    slot[ARMED] = 1
    words[WAITED] = 1
    with engine.lock:  # a fence: the processor must not load COMMIT before the stores above are visible
        has_news = words[COMMIT] != engine.seen
    if not has_news:
        engine.storage.wait_for_word(words, WAKES, seen, seconds)
    slot[ARMED] = 0


def wake_waiting(engine: Engine) -> None:
    """Wake the other processes that wait for COMMIT to move.

    Under the sync lock, after storing COMMIT.
    """
    words = engine.words
    with engine.lock:  # a fence: the processor must not load WAITED before the store of COMMIT is visible
        is_waited = words[WAITED]
    if not is_waited:
        return
    slot = engine.slot
    if engine.waiters.armed and slot is not None:
        # Waiters of this process are woken when it shows the commit. So if only this process waits,
        # there is nobody to wake here.
        armed = FIRST_SLOT + ARMED
        if not any(words[armed + n * SLOT_WORDS] for n in range(words[SLOTS]) if n != slot.number):
            return
    # Order: clear WAITED first. Clearing it last could undo the store of a process that has looked
    # at COMMIT since, and goes to sleep.
    words[WAITED] = 0
    words[WAKES] = (words[WAKES] + 1) & WAKES_MASK
    engine.storage.wake_for_word(words, WAKES)


def rest(engine: Engine, seconds: float) -> None:
    """Sleep until somebody wakes the sleepers, for at most `seconds`, without looking for news.

    Blocks.
    """
    engine.storage.wait_for_word(engine.words, WAKES, engine.words[WAKES], max(0.0, seconds))


def wake_sleepers(engine: Engine) -> None:
    """Wake everyone who sleeps on the page, so that they look for news."""
    if not engine.storage.read_only:
        engine.storage.wake_for_word(engine.words, WAKES)


def say_lock_is_waited_for(engine: Engine) -> None:
    """Ask that whoever frees a lock within three seconds has that synced, since only that wakes.

    A waiter calls this before it looks at the lock, and again each second.
    """
    engine.words[LOCK_WAITED] = _steady_ms() + LOCK_WAITED_MS


def is_lock_waited_for(engine: Engine) -> bool:
    """Return True if somebody may be waiting for a lock, in any process."""
    return engine.words[LOCK_WAITED] > _steady_ms()


def is_all_durable(engine: Engine) -> bool:
    """Return True if no frame waits for a sync."""
    return engine.words[APPENDED] == engine.words[COMMIT]


def _steady_ms() -> int:
    """Return the ms of the monotonic clock, which all processes of a machine share."""
    return time.monotonic_ns() // 1_000_000
