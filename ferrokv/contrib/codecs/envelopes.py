"""Envelopes around cached values (docs/format.md section 10): how long a value is fresh, and the tags that it falls with."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

STALE: Final = b"\x03"
TAGGED: Final = b"\x04"
ENVELOPES: Final = frozenset({STALE, TAGGED})
TOKEN_BYTES: Final = 8
NO_TOKEN: Final = bytes(TOKEN_BYTES)
EPOCH: Final = b"e"
TAG: Final = b"t"
TAGS_MAX: Final = 255
TAG_BYTES_MAX: Final = 65_534
_STALE_HEAD: Final = 9


class Guard(NamedTuple):
    """Tags of a value with their tokens at the moment from which on an invalidation counts. Names as they are stored."""

    epoch: bytes
    tokens: tuple[tuple[bytes, bytes], ...]

    @property
    def names(self) -> tuple[bytes, ...]:
        """Whose tokens decide whether the value is there: the epoch's, then each tag's."""
        return (EPOCH, *(name for name, _ in self.tokens))

    @property
    def expected(self) -> tuple[bytes, ...]:
        """The tokens of `names` for as long as the value is there."""
        return (self.epoch, *(token for _, token in self.tokens))


class Opened(NamedTuple):
    """What an envelope holds: `soft_ms` is None without a soft expiry, `guard` is None without tags."""

    soft_ms: int | None
    guard: Guard | None
    inner: bytes


def new_token() -> bytes:
    """A token that no tag had before."""
    return secrets.token_bytes(TOKEN_BYTES)


def seal_in(stored: bytes, soft_ms: int | None, guard: Guard | None) -> bytes:
    """The value in the envelopes that it needs, perhaps none."""
    if guard is not None:
        parts = [TAGGED, guard.epoch, bytes((len(guard.tokens),))]
        for name, token in guard.tokens:
            parts += (token, len(name).to_bytes(2, "big"), name)
        stored = b"".join((*parts, stored))
    if soft_ms is not None:
        stored = STALE + soft_ms.to_bytes(8, "big") + stored
    return stored


def open_envelope(stored: bytes) -> Opened | None:
    """What is in it; None if it is damaged. Bytes without an envelope are their own inner value."""
    soft_ms = guard = None
    if stored[:1] == STALE:
        if len(stored) < _STALE_HEAD:
            return None
        soft_ms = int.from_bytes(stored[1:_STALE_HEAD], "big")
        stored = stored[_STALE_HEAD:]
    if stored[:1] == TAGGED:
        found = _read_guard(stored)
        if found is None:
            return None
        guard, stored = found
    return None if stored[:1] in ENVELOPES else Opened(soft_ms, guard, stored)


def _read_guard(stored: bytes) -> tuple[Guard, bytes] | None:
    epoch, place = stored[1 : 1 + TOKEN_BYTES], 2 + TOKEN_BYTES
    count = stored[place - 1] if len(stored) >= place else 0
    tokens = []
    for _ in range(count):
        name_at = place + TOKEN_BYTES + 2
        end = name_at + int.from_bytes(stored[name_at - 2 : name_at], "big")
        if end > len(stored):
            return None
        tokens.append((stored[name_at:end], stored[place : place + TOKEN_BYTES]))
        place = end
    return (Guard(epoch, tuple(tokens)), stored[place:]) if tokens else None


def without_soft_expiry(stored: bytes) -> bytes:
    """The value without its outer envelope, so that only its TTL counts."""
    return stored[_STALE_HEAD:]


def replace_inner(stored: bytes, inner: bytes, new_inner: bytes) -> bytes:
    """The same envelopes around another value."""
    return stored[: len(stored) - len(inner)] + new_inner


def tokens_match(guard: Guard, find: Callable[[bytes], bytes | None]) -> bool:
    """True if no tag of the value was invalidated, and the cache not cleared. `find` gives what a name of a token holds."""
    return all((find(name) or NO_TOKEN) == token for name, token in zip(guard.names, guard.expected, strict=True))


def make_guard(names: Sequence[bytes], found: Sequence[bytes | None]) -> Guard:
    """The guard of tags, from what the epoch and they hold."""
    tokens = [token or NO_TOKEN for token in found]
    return Guard(tokens[0], tuple(zip(names, tokens[1:], strict=True)))
