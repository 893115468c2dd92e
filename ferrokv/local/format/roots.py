"""Roots: the value of a user key that names a collection (docs/format.md section 4).

In memory a root is a `Root`, a subclass of bytes, so that its class tells it from a string.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from ...errors import CorruptionError, UnsupportedFormat

ROOT: Final = struct.Struct("<c7xQQQQ")
ROOT_BYTES: Final = 40
U64_MAX: Final = (1 << 64) - 1
assert ROOT.size == ROOT_BYTES

LIST: Final = b"l"
HASH: Final = b"h"
SET: Final = b"s"
SORTED_SET: Final = b"z"
TYPES: Final = {LIST: "list", HASH: "hash", SET: "set", SORTED_SET: "zset"}
FIRST_INDEX: Final = 1 << 63  # of a new list's first element: in the middle, to grow in both directions


class Root(bytes):
    """An encoded root."""

    __slots__ = ()


def size_of(root: Root) -> int:
    """Return the number of elements. `decode_root` must have checked the root before."""
    size: int = ROOT.unpack(root)[3]
    return size


class RootFields(NamedTuple):
    """A decoded root. `version` counts the changes of the collection, and `size` its elements.

    `head` is the index of the first element of a list, and 0 for the other types.
    """

    type: bytes
    generation: int
    version: int
    size: int
    head: int

    def encode(self) -> Root:
        """Return the root as 40 bytes."""
        return Root(ROOT.pack(*self))


def decode_root(data: bytes) -> RootFields:
    """Decode and check a root.

    Raises `CorruptionError` if its length is wrong or its fields do not fit together, and
    `UnsupportedFormat` if its type is unknown.
    """
    if len(data) != ROOT_BYTES:
        raise CorruptionError(f"root of a collection is cut short: found={len(data)} expected={ROOT_BYTES}")
    fields = RootFields(*ROOT.unpack(data))
    if fields.type not in TYPES:
        raise UnsupportedFormat(f"collection of an unknown type: type={fields.type!r}")
    is_list = fields.type == LIST
    if (
        not 0 < fields.size < U64_MAX
        or fields.version >= U64_MAX
        or (is_list and not 0 < fields.head < U64_MAX - fields.size)
        or (fields.head and not is_list)
    ):
        raise CorruptionError(f"root of a collection does not add up: {fields}")
    return fields
