"""Fractional numbers as in Redis on x86-64: INCRBYFLOAT uses 80-bit precision, scores are doubles.

INCRBYFLOAT writes the sum as `printf("%.17Lf")` formats it, without trailing zeros (Redis, util.c,
ld2string).
"""

from __future__ import annotations

import math
import re
import struct
from fractions import Fraction
from typing import Final

from ...errors import CorruptionError, ResponseError

MANTISSA_BITS: Final = 64
EXPONENT_MAX: Final = 5_000  # beyond the range of an 80-bit number
DECIMALS: Final = 17
_NUMBER: Final = re.compile(rb"([+-]?)(\d*)\.?(\d*)(?:[eE]([+-]?\d{1,9}))?")
_LARGEST: Final = Fraction((1 << MANTISSA_BITS) - 1) * (1 << (16_384 - MANTISSA_BITS))
_SMALLEST: Final = Fraction(1, 1 << 16_445)
_DOUBLE: Final = struct.Struct(">d")
_SIGN: Final = 1 << 63
_ALL: Final = (1 << 64) - 1
INFINITIES: Final = {
    b"inf": float("inf"),
    b"+inf": float("inf"),
    b"-inf": float("-inf"),
    b"infinity": float("inf"),
    b"+infinity": float("inf"),
    b"-infinity": float("-inf"),
}


def decode_extended(text: bytes) -> Fraction | None:
    """Return the 80-bit number nearest to a decimal number, or None if the text is not a number."""
    match = _NUMBER.fullmatch(text)
    if match is None or not (match[2] or match[3]) or len(text) > EXPONENT_MAX:
        return None
    sign, whole, part, exponent = match.groups()
    power = int(exponent or 0)
    number = Fraction(int(whole + part or b"0"))
    if number and abs(power) > EXPONENT_MAX:
        return None
    number *= Fraction(10) ** ((power if number else 0) - len(part))
    number = round_extended(-number if sign == b"-" else number)
    return number if not number or _SMALLEST <= abs(number) <= _LARGEST else None


def round_extended(number: Fraction) -> Fraction:
    """Round to the nearest number with a 64-bit mantissa, ties to even."""
    if not number:
        return number
    exponent = abs(number.numerator).bit_length() - number.denominator.bit_length() - MANTISSA_BITS
    unit = Fraction(2) ** exponent
    while abs(number) / unit >= 1 << MANTISSA_BITS:
        unit *= 2
    return round(number / unit) * unit


def add_float(value: bytes, amount: bytes, bad_value: str) -> bytes:
    """Return the sum as text.

    `ResponseError` with `bad_value` if the value is not a number, and with Redis's messages
    otherwise.
    """
    number = decode_extended(value)
    if number is None:
        raise ResponseError(bad_value)
    if amount.lower() in INFINITIES:
        raise ResponseError("increment would produce NaN or Infinity")
    added = decode_extended(amount)
    if added is None:
        raise ResponseError("value is not a valid float")
    total = round_extended(number + added)
    if abs(total) > _LARGEST:
        raise ResponseError("increment would produce NaN or Infinity")
    scaled = round(abs(total) * 10**DECIMALS)
    whole, part = divmod(scaled, 10**DECIMALS)
    digits = f"{whole}.{part:0{DECIMALS}}".rstrip("0").rstrip(".")
    return (b"-" if total < 0 and scaled else b"") + digits.encode()


def check_amount(text: bytes) -> None:
    """Raise `ResponseError` for amounts that HINCRBYFLOAT refuses, whatever the key holds."""
    if text.lower() in INFINITIES:
        raise ResponseError("value is NaN or Infinity")
    if decode_extended(text) is None:
        raise ResponseError("value is not a valid float")


def decode_score(text: bytes, why: str = "value is not a valid float") -> float:
    """Parse a score as ZADD does. `ResponseError` if it is not a number, or is NaN."""
    infinite = INFINITIES.get(text.lower())
    if infinite is not None:
        return infinite
    if _NUMBER.fullmatch(text) is None or text.strip(b"+-.") == b"":
        raise ResponseError(why)
    score = float(text)
    if math.isinf(score) or (not score and re.search(rb"[1-9]", text.lower().partition(b"e")[0])):
        raise ResponseError(why)  # too large or too small for a double
    return score


def encode_score(score: float) -> bytes:
    """Encode a score in eight bytes that sort as scores do (docs/format.md section 4)."""
    bits = int.from_bytes(_DOUBLE.pack(score + 0.0), "big")  # adding zero removes the sign of minus zero
    return (bits ^ (_ALL if bits & _SIGN else _SIGN)).to_bytes(8, "big")


def score_of(data: bytes) -> float:
    """Decode eight bytes to a score. `CorruptionError` for another length."""
    if len(data) != 8:
        raise CorruptionError(f"a score must have eight bytes: found={len(data)}")
    bits = int.from_bytes(data, "big")
    number: float = _DOUBLE.unpack((bits ^ (_SIGN if bits & _SIGN else _ALL)).to_bytes(8, "big"))[0]
    return number
