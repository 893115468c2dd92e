"""Serialization: OPTIONS["SERIALIZER"] is "pickle", "msgpack", "json", or a dotted path.

A class given by path needs `dumps` and `loads`. Pickle takes everything that Django's users cache,
and its bytes are sealed (values.py). MessagePack and JSON, by msgspec, take only plain data (None,
bool, numbers, str, bytes, list, dict, datetime; tuples and sets come back as lists), need no seal,
and raise TypeError for anything else.
"""

from __future__ import annotations

import pickle
from importlib import import_module
from types import ModuleType
from typing import Any, Final, Protocol

from ferrokv import DataError

from .naming import named

OWN: Final = 0


class Serializer(Protocol):
    """Turns values into bytes and back.

    A class may set `sealed = False` if its `loads` is harmless for any bytes.
    """

    def dumps(self, value: Any) -> bytes:
        """Return the bytes of a value. Raises before anything is written."""

    def loads(self, data: bytes) -> Any:
        """Return the value of such bytes."""


class PickleSerializer:
    """Anything that can be pickled."""

    number = 1
    sealed = True

    def dumps(self, value: Any) -> bytes:
        """Return the pickle, in the newest protocol."""
        return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)

    loads = staticmethod(pickle.loads)
    """Return the value of a pickle. Only for bytes whose seal was verified."""


class MessagePackSerializer:
    """Plain data as MessagePack."""

    number = 2
    sealed = False

    def __init__(self) -> None:
        msgspec = _import_msgspec()
        self.dumps = msgspec.msgpack.Encoder().encode
        self.loads = msgspec.msgpack.Decoder().decode


class JSONSerializer:
    """Plain data as JSON. Bytes come back as base64 text, and datetimes as text."""

    number = 3
    sealed = False

    def __init__(self) -> None:
        msgspec = _import_msgspec()
        self.dumps = msgspec.json.Encoder().encode
        self.loads = msgspec.json.Decoder().decode


def _import_msgspec() -> ModuleType:
    try:
        import_module("msgspec.msgpack")
        import_module("msgspec.json")
        return import_module("msgspec")
    except ImportError as error:
        raise DataError('this SERIALIZER needs msgspec: pip install "ferrokv[msgspec]"') from error


NAMED: Final[dict[str, type]] = {"pickle": PickleSerializer, "msgpack": MessagePackSerializer, "json": JSONSerializer}


def make_serializer(given: Any) -> Serializer:
    """Return the serializer given by OPTIONS as a name, a dotted path, a class or an object.

    `DataError` if it is not one.
    """
    given = named("SERIALIZER", NAMED, given)
    made: Serializer = given() if isinstance(given, type) else given
    if not (callable(getattr(made, "dumps", None)) and callable(getattr(made, "loads", None))):
        raise DataError(f"a SERIALIZER needs the methods dumps and loads: {given!r}")
    return made
