"""Commands on keys of any type: DEL, EXISTS, MGET, RENAME, FLUSHDB, and matching of patterns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from ..engine.clock import Clock
from ..engine.read import Resume, live, probe, read_entry, search_value
from ..engine.transaction import Transaction
from ..engine.view import View
from ..errors import ResponseError
from ..storage.requests import PAUSE, Op

SLICE_KEYS: Final = 512  # an event loop gets its turn after so many


def delete(tx: Transaction, keys: Sequence[bytes]) -> int:
    """DEL. How many of the keys there were."""
    deleted = 0
    for key in keys:
        if tx.get(key) is not None:
            tx.delete(key)
            deleted += 1
    return deleted


def rename(tx: Transaction, source: bytes, target: bytes) -> bool:
    """RENAME. True; the TTL goes along and `target` is replaced. `ResponseError` if there is no `source`."""
    found = tx.get(source)
    if found is None:
        raise ResponseError("no such key")
    tx.delete(source)
    tx.put(target, *found)
    return True


def clear(tx: Transaction) -> bool:
    """FLUSHDB of one keyspace. True. O(1), atomic, and durable as any write."""
    tx.clear_keyspace()
    return True


def mget(view: View, prefix: bytes | None, keys: Sequence[bytes], clock: Clock) -> Op[list[bytes | None]]:
    """MGET. Values in the order of the keys, None for missing ones, all of one moment."""
    if prefix is None:
        return [None] * len(keys)
    values: list[bytes | None] = []
    for i, key in enumerate(keys):
        if i % SLICE_KEYS == SLICE_KEYS - 1:
            yield PAUSE
        found = probe(view, prefix + key, clock)
        if isinstance(found, Resume):
            found = yield from search_value(found, clock)
        values.append(found)
    return values


def exists(view: View, prefix: bytes | None, keys: Sequence[bytes], clock: Clock) -> Op[int]:
    """EXISTS. How many of the keys there are; one named twice counts twice."""
    if prefix is None:
        return 0
    found = 0
    for i, key in enumerate(keys):
        if i % SLICE_KEYS == SLICE_KEYS - 1:
            yield PAUSE
        entry = yield from read_entry(view, prefix + key)
        found += live(entry, clock())
    return found


def literal_prefix(pattern: bytes) -> bytes:
    """The part of a glob before its first special character: only keys that begin so can match."""
    match = re.match(rb"[^*?\[\\]*", pattern, re.DOTALL)
    return match[0] if match else b""


def compile_pattern(pattern: bytes) -> re.Pattern[bytes]:
    """A Redis glob (``*``, ``?``, ``[a-c]``, ``[^a]``, ``\\x``) as a regular expression over the whole key.

    Read byte by byte as Redis's stringmatchlen does, odd cases included.
    """
    parts = [b""]
    i = 0
    while i < len(pattern):
        byte = pattern[i : i + 1]
        if byte == b"*":
            parts.append(b"")
        elif byte == b"?":
            parts[-1] += b"."
        elif byte == b"[":
            body, i = _compile_class(pattern, i + 1)
            parts[-1] += body
        else:
            if byte == b"\\" and i + 1 < len(pattern):
                i += 1
            parts[-1] += re.escape(pattern[i : i + 1])
        i += 1
    if len(parts) == 1:
        return re.compile(parts[0], re.DOTALL)
    # What stands between two stars is found at the first place and never tried again (as in the standard library's fnmatch):
    # a pattern with many stars would otherwise take time exponential in their number.
    first, *inner, last = parts
    middle = b"".join(b"(?>.*?" + part + b")" for part in inner if part)
    return re.compile(first + middle + b".*" + last, re.DOTALL)


def _compile_class(pattern: bytes, i: int) -> tuple[bytes, int]:
    """A bracket expression whose first byte is at `i`, and where it ends. One that is not closed goes to the end; a range in
    descending order is turned around."""
    negated = pattern[i : i + 1] == b"^"
    i += negated
    members: set[int] = set()
    while i < len(pattern) and pattern[i] != 0x5D:
        if pattern[i] == 0x5C and i + 1 < len(pattern):
            i += 1
            members.add(pattern[i])
        elif i + 2 < len(pattern) and pattern[i + 1] == 0x2D:
            low, high = sorted((pattern[i], pattern[i + 2]))
            members.update(range(low, high + 1))
            i += 2
        else:
            members.add(pattern[i])
        i += 1
    if not members:
        return (b"." if negated else b"(?!)"), i
    return b"[" + (b"^" if negated else b"") + b"".join(b"\\x%02x" % member for member in sorted(members)) + b"]", i
