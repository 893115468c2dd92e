"""Who waits for which keys in this process, whom a commit wakes, and how processes wake each other (docs/format.md section 7).

Whoever waits *arms* its waiter, looks at the key once more, and only then sleeps: a commit before the arming is seen by the look,
one behind it wakes. Elements and locks go to takers. A commit wakes as many of them as it has something for, first come first
served; one that was woken and goes away without having taken it passes it on, so nothing lies there while somebody sleeps.
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
"""What a waiter wants: to see every change, to take an element of a collection, or to take a lock."""
WAKES_MASK: Final = 0xFFFFFFFF
LOCK_WAITED_MS: Final = 3_000


class Waiter:
    """Somebody who waits for some keys. What is in it belongs to the engine's lock; a waiter belongs to one thread or task."""

    __slots__ = ("channel", "holder", "is_over", "is_woken", "keys", "kind", "owner", "wanted", "woken_for")

    def __init__(
        self, kind: Kind, wanted: list[tuple[str, bytes]], owner: object = None, channel: object = None
    ) -> None:
        self.kind: Kind = kind
        self.wanted = wanted  # keyspace and user key
        self.owner = owner  # the handle that it waits through
        self.channel: Any = channel  # waiters with the same one are told together: an event loop, or None for threads
        self.holder = ""  # the announcement of the process that has the lock it waits for
        self.keys: tuple[bytes, ...] = ()  # internal keys that it stands in line for
        self.woken_for: bytes | None = None  # the line that it was taken from and has not answered for yet
        self.is_woken = False  # since it was armed
        self.is_over = False  # its handle is closed

    def prepare(self) -> None:
        """It is being armed: be ready to be told."""


class _Line:
    """The takers of one key. Those who were woken are `awake` until they have looked: False, or True once a tick has found them."""

    __slots__ = ("asleep", "awake")

    def __init__(self) -> None:
        self.asleep: OrderedDict[Waiter, None] = OrderedDict()
        self.awake: dict[Waiter, bool] = {}


class Waited:
    """All waiters of a process on one store. Every method under the engine's lock."""

    def __init__(self) -> None:
        self.armed: dict[Waiter, None] = {}
        self.woken = 0  # how many were woken so far
        self.tell: Callable[[Any, list[Waiter]], bool] = lambda channel, waiters: True
        """Tells waiters of one channel that they are woken; False if nobody is there any more."""
        self._lines: dict[Kind, dict[bytes, _Line]] = {"changes": {}, "elements": {}, "locks": {}}
        self._closed = False

    def arm(self, waiter: Waiter, catalogue: Catalogue) -> None:
        """From now on a change wakes it. One that is back, because there was nothing left for it, stands first again."""
        if self._closed or waiter.is_over:
            raise StoreClosed("the store or the handle was closed while somebody waited; open it again")
        if waiter in self.armed:
            if not waiter.is_woken:
                return
            self._take_out(waiter)  # a signal handler came between the telling and this
        is_back = self._settle(waiter) is not None
        waiter.prepare()
        waiter.is_woken = False
        waiter.keys = _internal_keys(waiter, catalogue)
        self.armed[waiter] = None
        lines = self._lines[waiter.kind]
        for key in waiter.keys:
            line = lines.setdefault(key, _Line())
            line.asleep[waiter] = None
            if is_back:
                line.asleep.move_to_end(waiter, last=False)

    def leave(self, waiter: Waiter, *, took: bool = False) -> None:
        """It waits no more. What it was woken for and did not take is passed on; who is next to a lock looks at it in any case."""
        if waiter in self.armed:
            next_to = [key for key in waiter.keys if waiter.kind == "locks" and self.is_first(waiter)]
            self._take_out(waiter)
        else:
            key = self._settle(waiter)
            next_to = [key] if key is not None and (not took or waiter.kind == "locks") else []
        for key in next_to:
            self._wake_line(waiter.kind, key, 1)

    def is_first(self, waiter: Waiter) -> bool:
        """True for the one who is woken next for its key. Only this one minds the clock, or all would wake when a lock expires."""
        line = self._lines[waiter.kind].get(waiter.keys[0]) if waiter.keys else None
        return line is None or next(iter(line.asleep), waiter) is waiter

    def show(self, entries: dict[bytes, Entry]) -> None:
        """Wake those who wait for what these commits wrote."""
        for kind, lines in self._lines.items():
            for key in lines.keys() & entries.keys() if lines else ():
                line = lines.get(key)
                if line is not None:
                    self._wake_line(kind, key, self._share(kind, entries[key][0]) - len(line.awake))

    def move(self, catalogue: Catalogue) -> None:
        """Keyspaces were made or cleared: have those look anew whose keys have other prefixes now."""
        self._wake([waiter for waiter in self.armed if waiter.keys != _internal_keys(waiter, catalogue)])

    def wake_all(self) -> None:
        """Have all look anew."""
        self._wake(list(self.armed))

    def end_for(self, owner: object) -> None:
        """End the waiting of those who wait through a handle, which is closed."""
        over = [waiter for waiter in self.armed if waiter.owner is owner]
        for waiter in over:
            waiter.is_over = True
        self._wake(over)

    def close(self) -> None:
        """Nobody waits any more."""
        self._closed = True
        self.wake_all()

    @property
    def waits_for_locks(self) -> bool:
        """True if somebody waits for a lock."""
        return bool(self._lines["locks"])

    def holders(self) -> set[str]:
        """Announcements of the processes whose locks somebody waits for."""
        heads = (next(iter(line.asleep), None) for line in self._lines["locks"].values())
        return {head.holder for head in heads if head is not None and head.holder}

    def wake_heirs(self, dead: set[str] | None) -> None:
        """Have the first in line look at the locks of processes that have ended, or of all."""
        for key, line in list(self._lines["locks"].items()):
            head = next(iter(line.asleep), None)
            if head is not None and (dead is None or head.holder in dead):
                self._wake_line("locks", key, 1)

    def tick(self, is_over: Callable[[Any], bool]) -> None:
        """Once a second. Forget those whose channel is over; pass on what somebody was woken for and has not looked at since."""
        for channel in [channel for channel in {waiter.channel for waiter in self.armed} if is_over(channel)]:
            self._forget_channel(channel)
        for kind, lines in self._lines.items():
            for key, line in [(key, line) for key, line in lines.items() if line.awake]:
                slow = [waiter for waiter, was_seen in line.awake.items() if was_seen]
                line.awake = {waiter: True for waiter in line.awake if waiter not in slow}
                self._wake_line(kind, key, len(slow))

    def _share(self, kind: Kind, value: bytes | None) -> int:
        """For how many there is something in a record that was written."""
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
        """Order: told first, then out of the line. A signal handler may raise in between, and whoever shows the commit again tells
        those again who are still in it."""
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
        """The waiter has answered for what it was woken for, which is returned."""
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
    """Return when another process may have committed, or after so many seconds. Blocks. Only for one thread of a process.

    Order: WAKES is loaded before anything is said, and COMMIT after that. A writer who stores COMMIT behind this look finds WAITED,
    or another one has found it meanwhile; then WAKES has moved, and the kernel does not let this thread fall asleep.
    """
    words, slot = engine.words, engine.slot
    if slot is None:  # may only read, and so cannot say that it waits
        engine.storage.wait_for_word(words, WAKES, 0, seconds)
        return
    seen = words[WAKES]
    slot[ARMED] = 1
    words[WAITED] = 1
    with engine.lock:  # which keeps the processor from loading COMMIT before the others can see that somebody waits
        has_news = words[COMMIT] != engine.seen
    if not has_news:
        engine.storage.wait_for_word(words, WAKES, seen, seconds)
    slot[ARMED] = 0


def wake_waiting(engine: Engine) -> None:
    """Wake the other processes that wait for COMMIT to move, if there are any. Under the sync lock, behind the store of COMMIT."""
    words = engine.words
    with engine.lock:  # which keeps the processor from loading WAITED before the others can see COMMIT
        is_waited = words[WAITED]
    if not is_waited:
        return
    slot = engine.slot
    if engine.waited.armed and slot is not None:
        # What waits in this process is woken when the commit is shown. Its thread need not be if nobody else waits.
        armed = FIRST_SLOT + ARMED
        if not any(words[armed + n * SLOT_WORDS] for n in range(words[SLOTS]) if n != slot.number):
            return
    # Order: first WAITED. If it were cleared last, that would undo what a process says which has just looked at COMMIT.
    words[WAITED] = 0
    words[WAKES] = (words[WAKES] + 1) & WAKES_MASK
    engine.storage.wake_for_word(words, WAKES)


def rest(engine: Engine, seconds: float) -> None:
    """Sleep, whatever is new, until somebody calls `wake_sleepers`, or for so many seconds at most. Blocks."""
    engine.storage.wait_for_word(engine.words, WAKES, engine.words[WAKES], max(0.0, seconds))


def wake_sleepers(engine: Engine) -> None:
    """Have all who sleep on the page look whether there is something new."""
    if not engine.storage.read_only:
        engine.storage.wake_for_word(engine.words, WAKES)


def say_lock_is_waited_for(engine: Engine) -> None:
    """Whoever frees a lock within three seconds has that synced. Before the waiter tries for the lock once more."""
    engine.words[LOCK_WAITED] = _steady_ms() + LOCK_WAITED_MS


def is_lock_waited_for(engine: Engine) -> bool:
    """True if somebody may wait for a lock, in whichever process."""
    return engine.words[LOCK_WAITED] > _steady_ms()


def is_all_durable(engine: Engine) -> bool:
    """True if no frame waits for a sync."""
    return engine.words[APPENDED] == engine.words[COMMIT]


def _steady_ms() -> int:
    """By the clock that all processes of a machine share."""
    return time.monotonic_ns() // 1_000_000
