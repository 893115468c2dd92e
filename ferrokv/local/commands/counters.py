"""Counters: signed 64-bit integers, stored as decimal digits."""

from __future__ import annotations

import re
from typing import Final

from ...contract.encoding import INT64_MAX, INT64_MIN, Value, encode_value
from ...errors import ResponseError
from ..log.transaction import Transaction
from .collections import check_string
from .floats import add_float

# As Redis's string2ll: no sign before zero, no leading zeros, no spaces, no plus.
_INTEGER: Final = re.compile(rb"0|-?[1-9][0-9]{0,18}")


def decode_integer(value: bytes) -> int | None:
    """Return the integer that a value represents, or None if Redis would not accept it as one."""
    if _INTEGER.fullmatch(value) is None:
        return None
    number = int(value)
    return number if INT64_MIN <= number <= INT64_MAX else None


def check_amount(amount: Value) -> int:
    """Return a 64-bit int, which may be given as text.

    Otherwise `ResponseError` with Redis's message.
    """
    if amount.__class__ is int and INT64_MIN <= amount <= INT64_MAX:
        return amount
    number = decode_integer(encode_value(amount))
    if number is None:
        raise ResponseError("value is not an integer or out of range")
    return number


def increment(tx: Transaction, key: bytes, amount: int, only_existing: bool) -> int | None:
    """INCRBY. Returns the new value. The TTL stays.

    A missing key counts as 0, or returns None with `only_existing`.
    """
    found = check_string(tx.get(key))
    if found is None:
        if only_existing:
            return None
        found = (b"0", 0)
    number = decode_integer(found[0])
    if number is None:
        raise ResponseError("value is not an integer or out of range")
    number += amount
    if not INT64_MIN <= number <= INT64_MAX:
        raise ResponseError("increment or decrement would overflow")
    tx.put(key, b"%d" % number, found[1])
    return number


def increment_float(tx: Transaction, key: bytes, amount: bytes) -> float:
    """INCRBYFLOAT. Returns the new value. The TTL stays."""
    found = check_string(tx.get(key)) or (b"0", 0)
    total = add_float(found[0], amount, "value is not a valid float")
    tx.put(key, total, found[1])
    return float(total)
