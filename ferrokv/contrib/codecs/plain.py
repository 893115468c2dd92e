"""Plain data: what MessagePack and JSON give back equal and of the same type.

msgspec encodes more than it gives back. A Decimal, a UUID or a dataclass would silently come back
as text or as a dict, a tuple as a list, and in JSON NaN as None and the key 1 as "1". A cache that
does so changes a program's data at the second request, so `make_plain` refuses such values, with
their path. It is a walk over the value; nothing is decoded for it.

A subclass of str or int that adds nothing but methods is stored as str or int, which compare equal.
Django's SafeString comes back as SafeString, because templates would escape a str again.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Final, NamedTuple

SAFE_MODULE: Final = "django.utils.safestring"
_Mark = Callable[[str], Any]


class Kind(NamedTuple):
    """What a serializer gives back. `mark` makes something of a SafeString that is in a container."""

    name: str
    values: frozenset[type]
    """Types whose instances come back as they are."""
    keys: frozenset[type]
    """Types of keys that come back as they are."""
    takes_special_floats: bool
    takes_datetimes: bool
    int_range: tuple[int, int] | None
    mark: _Mark | None


class NotPlainError(TypeError):
    """A value that would come back changed, or not at all. `path` leads to it, from the inside out."""

    def __init__(self, kind: Kind, what: str) -> None:
        super().__init__(what)
        self.kind = kind
        self.what = what
        self.path: list[str] = []

    def __str__(self) -> str:
        where = "value" + "".join(reversed(self.path))
        return f"{where} is {self.what}, which {self.kind.name} does not give back; SERIALIZER 'pickle' does"


def is_safe_string(value: object) -> bool:
    """True for a string that Django's templates do not escape."""
    cls = type(value)
    return cls.__name__ == "SafeString" and cls.__module__ == SAFE_MODULE


def make_plain(value: Any, kind: Kind) -> Any:
    """Return a value to encode, which is mostly the value itself.

    `TypeError` if it would not come back equal and of the same type, with the path to what would not.
    """
    try:
        return _plain(value, kind)
    except NotPlainError as error:
        raise TypeError(str(error)) from None  # which can be pickled
    except RecursionError:
        raise TypeError(f"value is nested too deeply for {kind.name}, or contains itself") from None


def _plain(value: Any, kind: Kind) -> Any:
    cls = value.__class__
    if cls in kind.values:
        return value
    if cls is int:
        return _plain_int(value, kind)
    if cls is float:
        if not kind.takes_special_floats and not math.isfinite(value):
            raise NotPlainError(kind, f"the float {value}")
        return value
    if cls is list:
        return _plain_list(value, kind)
    if cls is dict:
        return _plain_dict(value, kind)
    if cls is datetime and kind.takes_datetimes:
        return _plain_datetime(value, kind)
    return _plain_subclass(value, kind)


def _plain_int(value: int, kind: Kind) -> int:
    if kind.int_range is not None and not kind.int_range[0] <= value <= kind.int_range[1]:
        raise NotPlainError(kind, f"the int {value:#x}")
    return value


def _plain_datetime(value: datetime, kind: Kind) -> datetime:
    if value.tzinfo is None:
        raise NotPlainError(kind, "a datetime without a time zone")
    try:
        value.astimezone(UTC)
    except OverflowError:
        raise NotPlainError(kind, f"the datetime {value}") from None
    return value


def _plain_subclass(value: Any, kind: Kind) -> Any:
    if is_safe_string(value) and kind.mark is not None:
        return kind.mark(value)
    if not isinstance(value, Enum) and not hasattr(type(value), "__html__"):  # which templates do not escape
        if isinstance(value, str):
            return str.__str__(value)
        if isinstance(value, int):
            return _plain_int(int.__index__(value), kind)
    cls = type(value)
    article = "an" if cls.__name__[:1] in "AEIOaeio" else "a"
    raise NotPlainError(kind, f"{article} {cls.__name__}")


def _plain_list(value: list[Any], kind: Kind) -> list[Any]:
    made = value
    for i, item in enumerate(value):
        try:
            plain = _plain(item, kind)
        except NotPlainError as error:
            error.path.append(f"[{i}]")
            raise
        if plain is not item:
            if made is value:
                made = value.copy()
            made[i] = plain
    return made


def _plain_dict(value: dict[Any, Any], kind: Kind) -> dict[Any, Any]:
    changed = False
    made: dict[Any, Any] = {}
    for key, item in value.items():
        try:
            plain_key = key if key.__class__ is str else _plain_key(key, kind)
            plain = _plain(item, kind)
        except NotPlainError as error:
            error.path.append(f"[{key!r}]")
            raise
        changed |= plain_key is not key or plain is not item
        made[plain_key] = plain
    return made if changed else value


def _plain_key(key: Any, kind: Kind) -> Any:
    if key.__class__ in kind.keys and key == key:
        return _plain_int(key, kind) if key.__class__ is int else key
    if isinstance(key, str) and not isinstance(key, Enum) and not hasattr(type(key), "__html__"):
        return str.__str__(key)
    raise NotPlainError(kind, f"under a key of type {type(key).__name__}")
