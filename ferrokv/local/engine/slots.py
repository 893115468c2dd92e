"""Slots of the control page, and the pins in them (docs/format.md section 7).

A slot is 1,024 bytes of shared words that belong to one process. A process claims a slot at
opening, under the open lock, by storing the name of its announcement in OWNER, and gives it back at
closing by storing 0 there. A process that dies leaves its slot as it is. Its lock file is unlocked
then, which tells the others that it is dead, and that nothing in the slot counts; the next process
that needs a slot may take it.

PINNED is the oldest VERSION whose tables the process still reads. `Pins` counts the pins of each
version in the process's memory, and keeps PINNED at the lowest of them. A pin is set under a lock;
it is given back without one, because destructors and signal handlers do that, and PINNED follows at
the next `settle`. Until then PINNED is too low, which keeps files longer than necessary but harms
nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from threading import RLock
from typing import Final

from ...errors import StoreBusy
from ..format import control
from ..storage.requests import Words

REENTERED: Final = "a signal handler or destructor took a snapshot while its own thread was taking one"


class Slot:
    """One slot. Only its owner stores words in it; any process may load them."""

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
        """The announcement of the slot's owner, who may be dead; "" if the slot is free."""
        owner = self[control.OWNER]
        return f"{owner:016x}" if owner else ""

    def release(self) -> None:
        """Give the slot back. Its owner must store nothing in it afterwards."""
        self[control.OWNER] = 0


def claim_slot(words: Words, announced: str, is_alive: Callable[[str], bool]) -> Slot:
    """Claim a slot for the process that announced itself by this name. Only under the open lock.

    Takes the first slot that is free or whose owner has died. Raises `StoreBusy` if all 252 are in
    use.
    """
    used = words[control.SLOTS]
    number = next((slot.number for slot in slots_in_use(words) if not slot.owner or not is_alive(slot.owner)), used)
    if number >= control.SLOTS_MAX:
        raise StoreBusy(f"too many processes have the store open: limit={control.SLOTS_MAX}")
    slot = Slot(words, number)
    # Order: free the slot, clear it, then own it. So nobody takes a word of the last owner for the
    # new owner's.
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
    """Iterate over all slots that were ever claimed, even free ones and those of the dead."""
    return (Slot(words, number) for number in range(words[control.SLOTS]))


class Pins:
    """The versions that this process has pinned. The oldest of them is announced in its slot.

    Any thread may use it. A read-only process has no slot, and announces nothing.
    """

    __slots__ = ("_counts", "_given_back", "_is_mine", "_lock", "_process_id", "_process_now", "slot")

    def __init__(self, process_now: Callable[[], int]) -> None:
        self.slot: Slot | None = None
        self._process_now = process_now
        self._process_id = process_now()
        self._counts: dict[int, int] = {}  # version word -> pins; owner: the lock
        self._given_back: deque[int] = deque()  # not yet subtracted from the counts; any thread appends
        # Re-entrant only to detect re-entry, by a signal handler or destructor in the thread that
        # holds it.
        self._lock = RLock()
        self._is_mine: Callable[[], bool] = self._lock._is_owned  # type: ignore[attr-defined]

    def add(self, version_word: int) -> None:
        """Pin a version.

        Whoever decides after this call which files to remove, keeps those of the version. Raises
        `StoreBusy` if a signal handler or destructor calls this while its thread is in the middle
        of it.
        """
        if self._is_mine():
            raise StoreBusy(REENTERED)
        with self._lock:
            self._take(version_word)
        # Order: the caller's next loads must come after the announcement is visible to others.
        # Taking and releasing a lock is a fence.
        self.settle()

    def give_back(self, version_word: int) -> None:
        """Undo one `add`.

        It takes no lock, so destructors may call it. The slot follows at the next `settle`.
        """
        self._given_back.append(version_word)

    def settle(self) -> None:
        """Update the slot after pins were given back.

        If another thread is doing that now, leave it to that one.
        """
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
        """Clear the announcement, and stop using the slot, which is about to be given back."""
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
        # In a forked child, the slot still belongs to the parent.
        if slot is not None and slot[control.PINNED] != oldest and self._process_now() == self._process_id:
            slot[control.PINNED] = oldest
