"""Checks the arguments of commands and converts them for the command functions. Nothing waits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from ...contract.batch import WriteBatch
from ...contract.encoding import (
    INT64_MIN,
    Expiry,
    Key,
    Names,
    Value,
    Write,
    check_positive,
    encode_key,
    encode_member,
    encode_moment,
    encode_ttl,
    encode_value,
)
from ...contract.limits import BATCH_BYTES_MAX
from ...errors import DataError, ResponseError
from ..commands import counters
from ..commands.bits import BAD_OFFSET
from ..commands.floats import decode_score
from ..commands.keys import STRING
from ..commands.sorted_sets import AddOptions, Aggregate
from ..commands.zranges import Span
from ..format.limits import ARGUMENTS_MAX
from ..format.roots import TYPES

CHOICE_MAX: Final = 1 << 20  # random members that one command may return


def encode_names(names: Names, more: tuple[Key, ...] = ()) -> list[bytes]:
    """Encode keys given singly, as several arguments, or as an iterable."""
    keys = [encode_key(name) for name in (*_listed(names), *more)]
    _check_size(keys)
    return keys


def encode_some_names(names: Names, more: tuple[Key, ...], command: str) -> list[bytes]:
    """Encode at least one key. Without any, `ResponseError` with Redis's message."""
    return _some(encode_names(names, more), command)


def encode_values(values: Iterable[Value], command: str) -> list[bytes]:
    """Encode at least one value."""
    encoded = [encode_value(value) for value in values]
    _check_size(encoded)
    return _some(encoded, command)


def encode_members(values: Iterable[Value], command: str) -> list[bytes]:
    """Encode at least one field of a hash or member of a set."""
    encoded = [encode_member(value) for value in values]
    _check_size(encoded)
    return _some(encoded, command)


def encode_fields(keys: Value | Iterable[Value], more: tuple[Value, ...], command: str) -> list[bytes]:
    """Encode fields given singly, as several arguments, or as an iterable."""
    given = [keys] if isinstance(keys, int | float) else _listed(keys)
    return encode_members((*given, *more), command)


def _listed(given: Any) -> Iterable[Any]:
    """Return an iterable over one name or several."""
    if isinstance(given, str | bytes | bytearray | memoryview):
        return (given,)
    if not isinstance(given, Iterable):
        raise DataError(f"expected a name or an iterable of names, not {type(given).__name__}")
    return given


def _some(encoded: list[bytes], command: str) -> list[bytes]:
    if not encoded:
        raise ResponseError(f"wrong number of arguments for '{command}' command")
    return encoded


def _check_size(encoded: Sequence[bytes]) -> None:
    if len(encoded) > ARGUMENTS_MAX or sum(map(len, encoded)) > BATCH_BYTES_MAX:
        raise DataError(
            f"a command takes at most {ARGUMENTS_MAX} arguments of {BATCH_BYTES_MAX} bytes: found={len(encoded)}"
        )


def encode_pairs(
    key: Value | None, value: Value | None, mapping: Mapping[Any, Value] | None, items: Sequence[Value] | None
) -> list[tuple[bytes, bytes]]:
    """Encode the fields and values of HSET. Its three ways of giving them may be combined."""
    if key is None and not mapping and not items:
        raise DataError("'hset' with no key value pairs")
    given: list[Value] = list(items or ())
    if len(given) % 2:
        raise ResponseError("wrong number of arguments for 'hset' command")
    if key is not None:
        if value is None:
            raise DataError("Invalid input of type: 'NoneType'. Convert to a bytes, string, int or float first.")
        given += (key, value)
    for field, content in (mapping or {}).items():
        given += (field, content)
    pairs = [(encode_member(given[i]), encode_value(given[i + 1])) for i in range(0, len(given), 2)]
    _check_size([part for pair in pairs for part in pair])
    return pairs


def encode_mapping(mapping: object, command: str) -> list[Write]:
    """Convert the mapping of MSET to writes."""
    if not isinstance(mapping, Mapping) or not mapping:
        raise DataError(f"{command} needs a mapping of at least one key")
    batch = WriteBatch()
    for name, value in mapping.items():
        batch.set(name, value)
    return batch.writes


def encode_getex(
    ex: Expiry | None,
    px: Expiry | None,
    exat: int | datetime | None = None,
    pxat: int | datetime | None = None,
    persist: bool = False,
) -> tuple[int | None, int | None, bool]:
    """Convert GETEX's options to a TTL in ms, an expiry time in ms, and whether to persist."""
    if sum(given is not None for given in (ex, px, exat, pxat)) + persist > 1:
        raise DataError("``ex``, ``px``, ``exat``, ``pxat``, and ``persist`` are mutually exclusive.")
    ttl_ms = encode_ttl(ex) if ex is not None else encode_ttl(px, unit_ms=1) if px is not None else None
    expires_ms = None
    if exat is not None:
        expires_ms = encode_moment(exat)
    elif pxat is not None:
        expires_ms = encode_moment(pxat, unit_ms=1)
    return ttl_ms, expires_ms, persist


def encode_new_ttl(ex: Expiry | None, px: Expiry | None) -> int | None:
    """Return the new TTL of `compare_and_set` in ms, or None to keep the old one."""
    ttl_ms = encode_getex(ex, px)[0]
    check_positive(ttl_ms, "set")
    return ttl_ms


def negative(amount: int) -> int:
    """Turn the amount of a decrement into that of an increment."""
    number = counters.check_amount(amount)
    if number == INT64_MIN:
        raise ResponseError("decrement would overflow")
    return -number


def encode_positive_ttl(ttl: Expiry, command: str, *, unit_ms: int = 1000) -> int:
    """Convert a TTL to ms. It must be at least 1 ms."""
    ttl_ms = encode_ttl(ttl, unit_ms=unit_ms)
    check_positive(ttl_ms, command)
    return ttl_ms


def check_batch(batch: object) -> list[Write]:
    """Return a copy of the batch's writes, so that the caller can reuse the batch."""
    if not isinstance(batch, WriteBatch):
        raise DataError(f"write needs a WriteBatch, not {type(batch).__name__}")
    return list(batch.writes)


def check_int(value: Any) -> int:
    """Return the value if it is a 64-bit int; otherwise `ResponseError` with Redis's message."""
    return counters.check_amount(value)


def check_choice(count: Any) -> int:
    """Check how many random elements to draw; a negative count allows repetition."""
    number = check_int(count)
    if abs(number) > CHOICE_MAX:
        raise ResponseError("value is out of range")
    return number


def check_count(value: Any) -> int:
    """Check a count that must not be negative."""
    number = check_int(value)
    if number < 0:
        raise ResponseError("value is out of range, must be positive")
    return number


def is_left(side: str) -> bool:
    """True for LEFT, False for RIGHT."""
    name = side.upper() if isinstance(side, str) else ""
    if name not in ("LEFT", "RIGHT"):
        raise ResponseError("syntax error")
    return name == "LEFT"


def is_before(where: str) -> bool:
    """True for BEFORE, False for AFTER."""
    name = where.upper() if isinstance(where, str) else ""
    if name not in ("BEFORE", "AFTER"):
        raise ResponseError("syntax error")
    return name == "BEFORE"


def check_bit_range(start: int | None, end: int | None, mode: str | None) -> tuple[int | None, int | None]:
    """Check the range of BITCOUNT, which has both ends or neither."""
    if mode is not None and start is None:
        raise ResponseError("syntax error")
    if (start is None) != (end is None):
        raise DataError("Both start and end must be specified")
    return (None, None) if start is None or end is None else (check_int(start), check_int(end))


def check_position_range(
    start: int | None, end: int | None, mode: str | None
) -> tuple[int | None, int | None, str | None]:
    """Check the range of BITPOS."""
    if start is None and end is not None:
        raise DataError("start argument is not set, when end is specified")
    if mode is not None and end is None:
        raise ResponseError("syntax error")
    return None if start is None else check_int(start), None if end is None else check_int(end), mode


def check_seconds(seconds: float) -> float:
    """Check a waiting time in seconds."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < float("inf"):
        raise DataError(f"a waiting time must be a finite, non-negative number of seconds: found={seconds!r}")
    return seconds


def check_bit(bit: Any) -> int:
    """Check that the bit is 0 or 1."""
    if isinstance(bit, bool) or bit not in (0, 1):
        raise DataError("bit must be 0 or 1")
    return int(bit)


def encode_type(name: str | None) -> str | None:
    """Check the type that a scan filters by; None means any."""
    if name is None:
        return None
    lower = name.lower() if isinstance(name, str) else ""
    if lower not in (STRING, *TYPES.values()):
        raise ResponseError(f"unknown type name '{name}'")
    return lower


def encode_scores(mapping: object) -> list[tuple[bytes, float]]:
    """Encode the members and scores of ZADD."""
    if not isinstance(mapping, Mapping) or not mapping:
        raise DataError("ZADD requires at least one element/score pair")
    return [(encode_member(member), encode_score_value(score)) for member, score in mapping.items()]


def encode_score_value(score: Value) -> float:
    """Convert one score to a float."""
    return decode_score(encode_value(score))


def make_add_options(mapping: object, nx: bool, xx: bool, gt: bool, lt: bool, ch: bool, incr: bool) -> AddOptions:
    """Check the options of ZADD, as redis-py does."""
    if nx and xx:
        raise DataError("ZADD allows either 'nx' or 'xx', not both")
    if gt and lt:
        raise DataError("ZADD allows either 'gt' or 'lt', not both")
    if incr and (not isinstance(mapping, Mapping) or len(mapping) != 1):
        raise DataError("ZADD option 'incr' only works when passing a single element/score pair")
    if nx and (gt or lt):
        raise DataError("Only one of 'nx', 'lt', or 'gr' may be defined.")
    return AddOptions(nx, xx, gt, lt, ch)


def make_span(
    start: Any,
    end: Any,
    desc: bool,
    byscore: bool,
    bylex: bool,
    offset: int | None,
    num: int | None,
) -> Span:
    """Convert the arguments of ZRANGE.

    With `desc`, score and member bounds come highest first, as in Redis.
    """
    if byscore and bylex:
        raise DataError("``byscore`` and ``bylex`` can not be specified together.")
    if (offset is None) != (num is None):
        raise DataError("``offset`` and ``num`` must both be specified.")
    low, high = (end, start) if desc else (start, end)
    if byscore:
        return Span.by_score(low, high, reverse=desc).part(offset, num)
    if bylex:
        return Span.by_member(low, high, reverse=desc).part(offset, num)
    if offset is not None:
        raise ResponseError("syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX")
    return Span.by_rank(start, end, reverse=desc)


def encode_weights(keys: Names | Mapping[Any, float], command: str) -> list[tuple[bytes, float]]:
    """Return keys with the weights of their scores: 1, or as a mapping says."""
    if isinstance(keys, Mapping):
        weights = [(encode_key(key), _weight(weight)) for key, weight in keys.items()]
    else:
        weights = [(key, 1.0) for key in encode_names(keys)]
    if not weights:
        raise ResponseError(f"at least 1 input key is needed for '{command}' command")
    return weights


def _weight(weight: Value) -> float:
    return decode_score(encode_value(weight), "weight value is not a float")


def check_aggregate(name: str | None) -> Aggregate:
    """Check how scores of one member are combined."""
    upper = "SUM" if name is None else str(name).upper()
    if upper == "SUM":
        return "SUM"
    if upper == "MIN":
        return "MIN"
    if upper == "MAX":
        return "MAX"
    raise DataError("aggregate can be sum, min or max.")


def check_numkeys(numkeys: int, keys: Sequence[bytes], too_few: str) -> list[bytes]:
    """Return the keys, after checking that there are `numkeys` of them."""
    if check_int(numkeys) < 1:
        raise ResponseError(too_few)
    if numkeys > len(keys):
        raise ResponseError("Number of keys can't be greater than number of args")
    if numkeys < len(keys):
        raise ResponseError("syntax error")
    return list(keys)


def check_quota(max_bytes: object) -> int | None:
    """Check that a quota is a positive number of bytes, or None."""
    if max_bytes is not None and (
        isinstance(max_bytes, bool) or not isinstance(max_bytes, int) or not 0 < max_bytes < 1 << 63
    ):
        raise DataError(f"a quota must be a positive number of bytes, or None: found={max_bytes!r}")
    return max_bytes


def check_offset(offset: Any) -> int:
    """Check a bit offset. `ResponseError` with Redis's message if it is invalid."""
    try:
        return check_int(offset)
    except ResponseError:
        raise ResponseError(BAD_OFFSET) from None
