"""Bits of strings: SETBIT, GETBIT, BITCOUNT, BITPOS, BITOP. Bit 0 is the highest of byte 0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from ...contract.limits import VALUE_BYTES_MAX
from ...errors import ResponseError
from ..log.transaction import Transaction
from ..storage.requests import Op
from ..tree.records import Records
from .collections import check_string
from .strings import span
from .touched import reads_keys_at

BAD_OFFSET: Final = "bit offset is not an integer or out of range"


def _offset(offset: Any) -> int:
    if isinstance(offset, bool) or not isinstance(offset, int) or not 0 <= offset < 8 * VALUE_BYTES_MAX:
        raise ResponseError(BAD_OFFSET)
    return offset


def set_bit(tx: Transaction, key: bytes, offset: int, value: int) -> int:
    """SETBIT. Returns the old bit. Any true value counts as 1."""
    at = _offset(offset)
    found = check_string(tx.get(key)) or (b"", 0)
    data = bytearray(found[0])
    data.extend(bytes(max(0, at // 8 + 1 - len(data))))
    mask = 0x80 >> at % 8
    old = data[at // 8] & mask
    data[at // 8] = data[at // 8] | mask if value else data[at // 8] & ~mask
    tx.put(key, bytes(data), found[1])
    return int(old != 0)


@reads_keys_at(0)
def get_bit(records: Records, key: bytes, offset: int) -> Op[int]:
    """GETBIT. 0 beyond the end."""
    at = _offset(offset)
    found = check_string((yield from records.find(key)))
    if found is None or at // 8 >= len(found[0]):
        return 0
    return found[0][at // 8] >> (7 - at % 8) & 1


def _bits(data: bytes, first: int, last: int, by_bit: bool) -> tuple[int, int]:
    """Return the bits of a range as a number, and how many there are."""
    if by_bit:
        part = int.from_bytes(data[first // 8 : (last + 7) // 8], "big")
        width = last - first
        return part >> (-last % 8) & ((1 << width) - 1), width
    return int.from_bytes(data[first:last], "big"), 8 * (last - first)


def _is_by_bit(mode: str | None) -> bool:
    """True for BIT, False for BYTE and None. As in Redis, checked only if there is a string."""
    name = "BYTE" if mode is None else str(mode).upper()
    if name not in ("BYTE", "BIT"):
        raise ResponseError("syntax error")
    return name == "BIT"


@reads_keys_at(0)
def count(records: Records, key: bytes, start: int | None, end: int | None, mode: str | None) -> Op[int]:
    """BITCOUNT. How many bits are set, in the whole value or in a range of bytes or bits."""
    found = check_string((yield from records.find(key)))
    if found is None:
        return 0
    data = found[0]
    if start is None or end is None:
        return int.from_bytes(data, "big").bit_count()
    if start < 0 and end < 0 and start > end:
        return 0
    by_bit = _is_by_bit(mode)
    size = len(data) * 8 if by_bit else len(data)
    return _bits(data, *span(start, end, size), by_bit)[0].bit_count()


@reads_keys_at(0)
def position(records: Records, key: bytes, bit: int, start: int | None, end: int | None, mode: str | None) -> Op[int]:
    """BITPOS. The position of the first such bit, or -1. Without `end`, zeros follow the string."""
    found = check_string((yield from records.find(key)))
    if found is None:
        return -bit
    data = found[0]
    by_bit = _is_by_bit(mode)
    size = len(data) * 8 if by_bit else len(data)
    first, last = span(start or 0, -1 if end is None else end, size)
    if first >= last:
        return -1
    bits, width = _bits(data, first, last, by_bit)
    wanted = bits if bit else ~bits & ((1 << width) - 1)
    base = first if by_bit else 8 * first
    if wanted:
        return base + width - wanted.bit_length()
    return base + width if not bit and end is None else -1


def combine(tx: Transaction, operation: str, target: bytes, keys: Sequence[bytes]) -> int:
    """BITOP. Returns the length of the result, stored at `target`; an empty result deletes it."""
    name = str(operation).upper()
    if name not in ("AND", "OR", "XOR", "NOT"):
        raise ResponseError("syntax error")
    if name == "NOT" and len(keys) != 1:
        raise ResponseError("BITOP NOT must be called with a single source key.")
    strings = [found[0] if (found := check_string(tx.get(key))) else b"" for key in keys]
    size = max(map(len, strings))
    numbers = [int.from_bytes(data.ljust(size, b"\0"), "big") for data in strings]
    result = numbers[0]
    if name == "NOT":
        result ^= (1 << 8 * size) - 1
    for number in numbers[1:]:
        result = result & number if name == "AND" else result | number if name == "OR" else result ^ number
    if size:
        tx.put(target, result.to_bytes(size, "big"))
    else:
        tx.delete(target)
    return size
