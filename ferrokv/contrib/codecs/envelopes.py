"""Envelopes around cached values: a soft expiry, and tags (docs/format.md section 10).

aio/contract.py explains tags, aio/herd.py stale values.
"""

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
    """The tags of a value, as stored, with their tokens when the value was made."""

    epoch: bytes
    tokens: tuple[tuple[bytes, bytes], ...]

    @property
    def names(self) -> tuple[bytes, ...]:
        """The keys of the tokens that decide whether the value counts: the epoch, then each tag."""
        return (EPOCH, *(name for name, _ in self.tokens))

    @property
    def expected(self) -> tuple[bytes, ...]:
        """The tokens that `names` hold as long as the value counts."""
        return (self.epoch, *(token for _, token in self.tokens))


class OpenedEnvelope(NamedTuple):
    """The contents of an envelope.

    `soft_ms` is None without a soft expiry, and `guard` is None without tags.
    """

    soft_ms: int | None
    guard: Guard | None
    inner: bytes


def new_token() -> bytes:
    """Return a token that no tag had before."""
    return secrets.token_bytes(TOKEN_BYTES)


def seal_in(stored: bytes, soft_ms: int | None, guard: Guard | None) -> bytes:
    """Wrap the value in the envelopes that it needs, if any."""
    if guard is not None:
        parts = [TAGGED, guard.epoch, bytes((len(guard.tokens),))]
        for name, token in guard.tokens:
            parts += (token, len(name).to_bytes(2, "big"), name)
        stored = b"".join((*parts, stored))
    if soft_ms is not None:
        stored = STALE + soft_ms.to_bytes(8, "big") + stored
    return stored


def open_envelope(stored: bytes) -> OpenedEnvelope | None:
    """Return the contents, or None if the envelope is damaged. A bare value is its own content."""
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
    return None if stored[:1] in ENVELOPES else OpenedEnvelope(soft_ms, guard, stored)


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
    """Remove the outer envelope, so that only the TTL counts."""
    return stored[_STALE_HEAD:]


def replace_inner(stored: bytes, inner: bytes, new_inner: bytes) -> bytes:
    """Put another value into the same envelopes."""
    return stored[: len(stored) - len(inner)] + new_inner


def tokens_match(guard: Guard, find: Callable[[bytes], bytes | None]) -> bool:
    """True while none of the value's tags is invalidated and the cache is not cleared.

    `find` looks up a token.
    """
    return all((find(name) or NO_TOKEN) == token for name, token in zip(guard.names, guard.expected, strict=True))


def make_guard(names: Sequence[bytes], found: Sequence[bytes | None]) -> Guard:
    """Return the guard of tags, from the tokens found for the epoch and the tags."""
    tokens = [token or NO_TOKEN for token in found]
    return Guard(tokens[0], tuple(zip(names, tokens[1:], strict=True)))
