"""Serialization: OPTIONS["SERIALIZER"] is "pickle", "msgpack", "json", or a dotted path.

A class given by path needs `dumps` and `loads`. Pickle takes everything that Django's users cache,
and its bytes are sealed (values.py). MessagePack and JSON, by msgspec, take only data that they give
back equal and of the same type (plain.py), need no seal, and raise TypeError for anything else.
"""

from __future__ import annotations

import pickle
from importlib import import_module
from types import ModuleType
from typing import Any, Final, Protocol

from ferrokv import DataError

from .naming import named
from .plain import SAFE_MODULE, Kind, is_safe_string, make_plain

OWN: Final = 0
_SAFE_EXTENSION: Final = 1  # MessagePack's type of a SafeString
_SAFE_TEXT: Final = b"\x01"  # what JSON cannot begin with; a SafeString as JSON follows


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
    """None, bool, 64-bit integers, float, str, bytes, lists, dicts, and datetimes with a time zone.

    Such a datetime comes back in UTC. Keys may be None, bool, int, float, str or bytes.
    """

    number = 2
    sealed = False

    def __init__(self) -> None:
        msgspec = _import_msgspec()
        make_extension = msgspec.msgpack.Ext
        keys = frozenset((type(None), bool, int, float, str, bytes))
        self._kind = Kind(
            "MessagePack",
            values=frozenset((type(None), bool, str, bytes)),
            keys=keys,
            takes_special_floats=True,
            takes_datetimes=True,
            int_range=(-(1 << 63), (1 << 64) - 1),
            mark=lambda text: make_extension(_SAFE_EXTENSION, text.encode()),
        )
        self._encode = msgspec.msgpack.Encoder().encode
        self.loads = msgspec.msgpack.Decoder(ext_hook=_extended).decode

    def dumps(self, value: Any) -> bytes:
        """Return the bytes of a value. `TypeError` with the path to what would not come back."""
        data: bytes = self._encode(make_plain(value, self._kind))
        return data


class JSONSerializer:
    """None, bool, int of up to 4,200 digits, finite floats, str, lists, and dicts whose keys are str.

    A SafeString is taken by itself, as a template's fragment is, and not inside a container.
    """

    number = 3
    sealed = False

    def __init__(self) -> None:
        msgspec = _import_msgspec()
        self._kind = Kind(
            "JSON",
            values=frozenset((type(None), bool, str)),
            keys=frozenset((str,)),
            takes_special_floats=False,
            takes_datetimes=False,
            int_range=(-(1 << 14_000), 1 << 14_000),  # Python refuses to read more than 4,300 digits
            mark=None,
        )
        self._encode = msgspec.json.Encoder().encode
        self._decode = msgspec.json.Decoder().decode

    def dumps(self, value: Any) -> bytes:
        """Return the bytes of a value. `TypeError` with the path to what would not come back."""
        data: bytes
        if is_safe_string(value):
            data = _SAFE_TEXT + self._encode(str.__str__(value))
        else:
            data = self._encode(make_plain(value, self._kind))
        return data

    def loads(self, data: bytes) -> Any:
        """Return the value."""
        if data[:1] == _SAFE_TEXT:
            return _mark_safe(self._decode(data[1:]))
        return self._decode(data)


def _extended(code: int, data: memoryview) -> Any:
    if code != _SAFE_EXTENSION:
        raise ValueError(f"unknown extension of MessagePack: code={code}")
    return _mark_safe(bytes(data).decode())


def _mark_safe(text: str) -> Any:
    return import_module(SAFE_MODULE).SafeString(text)


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
