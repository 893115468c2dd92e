"""Commands on keys of any type: DEL, EXISTS, RENAME, COPY, FLUSHDB, KEYS, and glob matching."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import Final

from ...errors import ResponseError
from ..format.keys import successor_of_prefix
from ..format.roots import TYPES, Root, decode_root
from ..log.transaction import Transaction
from ..storage.requests import Op
from ..tree.records import Records, read_scan
from .collections import copy_collection, move_root, touched
from .touched import reads_keys_at

STRING: Final = "string"
NO_TYPE: Final = "none"


def delete(tx: Transaction, keys: Sequence[bytes]) -> int:
    """DEL and UNLINK. Returns how many of the keys existed.

    One record each, whatever a key holds.
    """
    deleted = 0
    for key in keys:
        if tx.get(key) is not None:
            tx.delete(key)
            deleted += 1
    return deleted


def rename(tx: Transaction, source: bytes, target: bytes) -> bool:
    """RENAME. Returns True. The TTL moves too, and `target` is replaced. O(1).

    `ResponseError` if there is no `source`.
    """
    found = tx.get(source)
    if found is None:
        raise ResponseError("no such key")
    if source != target:
        tx.delete(source)
        move_root(tx, found[0], target)
        tx.put(target, touched(found[0]), found[1])
    return True


def rename_if_missing(tx: Transaction, source: bytes, target: bytes) -> bool:
    """RENAMENX. Returns True if there was no `target`."""
    if tx.get(source) is None:
        raise ResponseError("no such key")
    return tx.get(target) is None and rename(tx, source, target)


def copy(tx: Transaction, source: bytes, target: bytes, replace: bool) -> bool:
    """COPY. O(elements) for a collection.

    Returns False if there is no `source`, or if `target` exists and may not be replaced.
    """
    if source == target:
        raise ResponseError("source and destination objects are the same")
    found = tx.get(source)
    if found is None or (not replace and tx.get(target) is not None):
        return False
    if found[0].__class__ is Root:
        copy_collection(tx, found, target)
    else:
        tx.put(target, *found)
    return True


def clear(tx: Transaction) -> bool:
    """FLUSHDB of one keyspace. Returns True. O(1), atomic, and as durable as any write."""
    tx.clear_keyspace()
    return True


@reads_keys_at(0)
def exists(records: Records, keys: Sequence[bytes]) -> Op[int]:
    """EXISTS and TOUCH. Returns how many of the keys exist; a key named twice counts twice."""
    found = yield from records.find_all(keys)
    return len(found) - found.count(None)


@reads_keys_at(0)
def type_of(records: Records, key: bytes) -> Op[bytes]:
    """TYPE. Returns Redis's name of the type, or `none` if there is no such key."""
    found = yield from records.find(key)
    return (NO_TYPE if found is None else name_of_type(found[0])).encode()


def name_of_type(value: bytes) -> str:
    """Return the type of what a record holds."""
    return TYPES[decode_root(value).type] if value.__class__ is Root else STRING


def all_keys(records: Records, low: bytes = b"", high: bytes | None = None) -> Op[list[bytes]]:
    """The keys of [low, high), of any type, in key order."""
    prefix = records.prefix
    if prefix is None:
        return []
    scan = records.scan(prefix + low, successor_of_prefix(prefix) if high is None else prefix + high)
    return [key for key, _ in (yield from read_scan(scan, len(prefix)))]


def matching(records: Records, glob: bytes) -> Op[list[bytes]]:
    """KEYS. The keys that match the glob, in key order. Reads only keys with its literal prefix."""
    pattern = compile_pattern(glob)
    literal = literal_prefix(glob)
    found = yield from all_keys(records, literal, successor_of_prefix(literal) if literal else None)
    return [key for key in found if pattern.fullmatch(key)]


def count(records: Records) -> Op[int]:
    """DBSIZE. O(n): a store that writes without reading first cannot keep count."""
    return len((yield from all_keys(records)))


def random_key(records: Records) -> Op[bytes | None]:
    """RANDOMKEY. A random key, or None. O(n)."""
    found = yield from all_keys(records)
    return random.choice(found) if found else None


def literal_prefix(pattern: bytes) -> bytes:
    """Return the part of a glob before its first special character. Every match starts with it."""
    match = re.match(rb"[^*?\[\\]*", pattern, re.DOTALL)
    return match[0] if match else b""


def compile_pattern(pattern: bytes) -> re.Pattern[bytes]:
    """Translate a Redis glob (``*``, ``?``, ``[a-c]``, ``[^a]``, ``\\x``) to a regular expression.

    It matches whole keys. The glob is read byte by byte, as by Redis's stringmatchlen, with all of
    its special cases.
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
    # The text between two stars is matched at its first occurrence and never retried, as in the
    # standard library's fnmatch. Otherwise many stars would take time exponential in their number.
    first, *inner, last = parts
    middle = b"".join(b"(?>.*?" + part + b")" for part in inner if part)
    return re.compile(first + middle + b".*" + last, re.DOTALL)


def _compile_class(pattern: bytes, i: int) -> tuple[bytes, int]:
    """Translate a bracket expression whose first byte is at `i`, and return where it ends.

    An unclosed one extends to the end; a descending range is reversed.
    """
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
