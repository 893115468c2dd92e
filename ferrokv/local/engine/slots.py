"""Slots of the control page: a kilobyte of shared words for each process that has the store open (docs/format.md section 7).

A process claims its slot while it attaches, under the open lock, and gives it back when it leaves. A process that dies leaves its
slot as it is: the owner's lock file tells that it is dead, and then nothing in the slot counts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from threading import RLock
from typing import Final

from ...errors import StoreBusy
from ..format import control
from ..storage.requests import Words

REENTERED: Final = "a signal handler or destructor took a snapshot in the middle of one that its own thread was taking"


class Slot:
    """One slot. Only its owner stores words in it; everybody may load them."""

    __slots__ = ("_start", "_words", "number")

    def __init__(self, words: Words, number: int) -> None:
        self.number = number
        self._words = words
        self._start = control.slot_start(number)

    def __getitem__(self, word: int, /) -> int:
        return self._words[self._start + word]

    def __setitem__(self, word: int, value: int, /) -> None:
        self._words[self._start + word] = value

    @property
    def owner(self) -> str:
        """The announcement of the process that has the slot, or had it when it died; "" for a free slot."""
        owner = self[control.OWNER]
        return f"{owner:016x}" if owner else ""

    def release(self) -> None:
        """Give the slot back. Its owner stores nothing in it from now on."""
        self[control.OWNER] = 0


def claim_slot(words: Words, announced: str, is_alive: Callable[[str], bool]) -> Slot:
    """A slot for the process that announced itself by this name. Only under the open lock.

    Takes the first slot that is free or whose owner has died. `StoreBusy` when all 252 are in use.
    """
    used = words[control.SLOTS]
    number = next((slot.number for slot in slots_in_use(words) if not slot.owner or not is_alive(slot.owner)), used)
    if number >= control.SLOTS_MAX:
        raise StoreBusy(f"too many processes have the store open: limit={control.SLOTS_MAX}")
    slot = Slot(words, number)
    # Order: free, then empty, then owned. Whoever looks in between takes nothing of the last owner for the new one's.
    slot.release()
    epoch = slot[control.EPOCH] + 1
    for word in control.CLEARED:
        slot[word] = 0
    slot[control.EPOCH] = epoch
    slot[control.OWNER] = int(announced, 16)
    if number == used:
        words[control.SLOTS] = used + 1
    return slot


def slots_in_use(words: Words) -> Iterator[Slot]:
    """Every slot that was ever claimed, those of the dead and free ones among them."""
    return (Slot(words, number) for number in range(words[control.SLOTS]))


class Pins:
    """Versions whose tables this process still reads, and in its slot the oldest of them (docs/format.md section 7).

    Any thread. A process that only reads has no slot, and announces nothing.
    """

    __slots__ = ("_counts", "_given_back", "_is_mine", "_lock", "_process_id", "_process_now", "slot")

    def __init__(self, process_now: Callable[[], int]) -> None:
        self.slot: Slot | None = None
        self._process_now = process_now
        self._process_id = process_now()
        self._counts: dict[int, int] = {}  # version word -> pins; owner: the lock
        self._given_back: deque[int] = deque()  # not yet taken out of the counts; any thread appends
        # Re-entrant only so that re-entry can be told, by a signal handler or destructor in the thread that holds it.
        self._lock = RLock()
        self._is_mine: Callable[[], bool] = self._lock._is_owned  # type: ignore[attr-defined]

    def add(self, version_word: int) -> None:
        """Announce that tables of this version are read. Whoever removes files later than this call respects it."""
        if self._is_mine():
            raise StoreBusy(REENTERED)
        with self._lock:
            self._take(version_word)
        # Order: what the caller loads next must not be loaded before the announcement is seen by others. Taking a lock and letting
        # it go is a fence.
        self.settle()

    def give_back(self, version_word: int) -> None:
        """End one `add`. For destructors: it takes no lock, and is told to others by the next `settle`."""
        self._given_back.append(version_word)

    def settle(self) -> None:
        """Tell others what was given back, unless a thread is just doing so, which then does this, too."""
        while True:
            if not self._is_mine() and self._lock.acquire(blocking=False):
                try:
                    self._drain()
                finally:
                    self._lock.release()
                if self._given_back:
                    continue
            return

    def leave(self) -> None:
        """End all pins, and announce nothing any more in a slot that is about to be somebody else's."""
        slot, self.slot = self.slot, None
        if slot is not None and self._process_now() == self._process_id:
            slot[control.PINNED] = 0

    def _take(self, version_word: int) -> None:
        self._counts[version_word] = self._counts.get(version_word, 0) + 1
        self._drain()

    def _drain(self) -> None:
        while self._given_back:
            word = self._given_back.popleft()
            if self._counts[word] > 1:
                self._counts[word] -= 1
            else:
                del self._counts[word]
        oldest = min(self._counts, default=0)
        slot = self.slot
        # In a forked child the slot is the parent's.
        if slot is not None and slot[control.PINNED] != oldest and self._process_now() == self._process_id:
            slot[control.PINNED] = oldest
