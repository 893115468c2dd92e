"""Slots of the control page: a kilobyte of shared words for each process that has the store open (docs/format.md section 7).

A process claims its slot while it attaches, under the open lock, and gives it back when it leaves. A process that dies leaves its
slot as it is: the owner's lock file tells that it is dead, and then nothing in the slot counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..errors import StoreBusy
from ..format import control
from ..storage.requests import Words


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
