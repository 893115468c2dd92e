"""Layout of the control page, the memory that all processes share (docs/format.md section 7)."""

from __future__ import annotations

import struct
import sys
from typing import Final

LAYOUT_VERSION: Final = 2
MAGIC: Final = b"FKVCTRL\0"
IDENTITY: Final = struct.Struct("<8s16s16sQ")
IDENTITY_WORDS: Final = IDENTITY.size // 8

# Indexes of 64-bit words. Each word has a cache line of its own, unless a comment says otherwise.
GENERATION: Final = 64 // 8
COMMIT: Final = 128 // 8
INTENT: Final = 192 // 8
VERSION: Final = 256 // 8
POISON: Final = 320 // 8
WRITER: Final = 384 // 8
COMPACTOR: Final = 448 // 8
APPENDED: Final = 512 // 8
SYNCER: Final = 576 // 8
WAITED: Final = 640 // 8
WAKES: Final = 648 // 8  # like LOCK_WAITED on the cache line of WAITED, since they are used together
LOCK_WAITED: Final = 656 // 8
LEVEL0: Final = 704 // 8
SCORE: Final = 712 // 8  # on the cache line of LEVEL0, since the two are used together
SLOTS: Final = 768 // 8
DAMAGED: Final = 832 // 8
SHORT: Final = 896 // 8
OVERFULL: Final = 1920 // 8
# What the processes believe about the wall clock: the fields of `clock.Belief`, in this order.
CLOCK: Final = (2048 // 8, 2056 // 8, 2064 // 8)
NO_CLOCK: Final = (0, 0, 0)

HEAD_BYTES: Final = 4096
SLOT_BYTES: Final = 1024
SLOTS_MAX: Final = 252
CONTROL_BYTES: Final = HEAD_BYTES + SLOTS_MAX * SLOT_BYTES
assert CONTROL_BYTES == 256 << 10
# The two halves of a packed position: the low half of a WAL number, and an offset in that WAL.
_WAL_MASK: Final = (1 << 32) - 1
_END_MASK: Final = (1 << 32) - 1
SCORE_UNIT: Final = 1000  # the value of SCORE when the fullest level is exactly full
FIRST_SLOT: Final = HEAD_BYTES // 8
SLOT_WORDS: Final = SLOT_BYTES // 8
# Words of one slot, as indexes from the slot's first word.
OWNER: Final = 0
EPOCH: Final = 1
PINNED: Final = 8
ARMED: Final = 32
CLEARED: Final = (PINNED, ARMED)  # the words to clear for a new owner; words without a name are spare


def encode_page(
    store_id: bytes, boot_id: bytes, generation: int, commit: int = 0, clock: tuple[int, ...] = NO_CLOCK
) -> bytes:
    """Return a fresh page with this identity and generation.

    `commit` and `clock` are carried over from the page of earlier processes of the same boot.
    """
    page = bytearray(CONTROL_BYTES)
    IDENTITY.pack_into(page, 0, MAGIC, store_id, boot_id, LAYOUT_VERSION)
    page[GENERATION * 8 : GENERATION * 8 + 8] = generation.to_bytes(8, sys.byteorder)
    # VERSION starts at a different value each time, so that a reader which has seen the previous
    # page notices the change. It is never 0, so that 0 can mean "none" wherever a VERSION is
    # stored.
    page[VERSION * 8 : VERSION * 8 + 8] = (generation >> 2 | 1).to_bytes(8, sys.byteorder)
    for index, word in zip((COMMIT, *CLOCK), (commit, *clock), strict=True):
        page[index * 8 : index * 8 + 8] = word.to_bytes(8, sys.byteorder)
    return bytes(page)


def is_page_of(head: list[int], store_id: bytes, boot_id: bytes | None) -> bool:
    """Return True if a page, of which `head` is the first words, belongs to this store and boot.

    A `boot_id` of None accepts a page of any boot.
    """
    magic, store, boot, version = IDENTITY.unpack(b"".join(word.to_bytes(8, sys.byteorder) for word in head))
    return magic == MAGIC and version == LAYOUT_VERSION and store == store_id and boot_id in (None, boot)


def slot_start(number: int) -> int:
    """Return the index of the first word of slot `number`. Slots are numbered from 0."""
    assert 0 <= number < SLOTS_MAX
    return FIRST_SLOT + number * SLOT_WORDS


def previous_commit(old: bytes, fresh: bytes) -> int | None:
    """Return the COMMIT word of an `old` page; None if it is of another store or boot than `fresh`.

    `old` is the head of the page: its first HEAD_BYTES bytes.
    """
    return _word(old, COMMIT) if _continues(old, fresh) else None


def previous_clock(old: bytes, fresh: bytes) -> tuple[int, ...]:
    """Return the CLOCK words of an `old` page; NO_CLOCK if of another store or boot than `fresh`.

    `old` is the head of the page: its first HEAD_BYTES bytes.
    """
    return tuple(_word(old, index) for index in CLOCK) if _continues(old, fresh) else NO_CLOCK


def _continues(old: bytes, fresh: bytes) -> bool:
    return len(old) == HEAD_BYTES and old[: IDENTITY.size] == fresh[: IDENTITY.size]


def _word(page: bytes, index: int) -> int:
    return int.from_bytes(page[index * 8 : index * 8 + 8], sys.byteorder)


def wal_word(number: int) -> int:
    """Return the low 32 bits of a WAL's number, which is what the words of the page hold of it."""
    return number & _WAL_MASK


def whole_wal_number(word: int, known: int) -> int:
    """Return the WAL number of which `word` is the low 32 bits: the first one from `known` on."""
    return known + ((word - known) & _WAL_MASK)


def pack_position(wal_number: int, end: int) -> int:
    """Pack a place in the WAL into one word: the WAL's number modulo 2³² and an offset in it."""
    assert end < 1 << 32
    return wal_word(wal_number) << 32 | end


def is_reached(word: int, target: int) -> bool:
    """Return True if a COMMIT word is at `target` or past it.

    WAL numbers are compared modulo 2³².
    """
    ahead = ((word >> 32) - (target >> 32)) & _WAL_MASK
    return word & _END_MASK >= target & _END_MASK if not ahead else ahead < 1 << 31


def unpack_position(word: int) -> tuple[int, int]:
    """Return (WAL number modulo 2³², offset) of a word made by `pack_position`."""
    return word >> 32, word & _END_MASK
