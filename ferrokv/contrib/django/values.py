"""Values of the cache as bytes: integers as digits, so that INCR is native, everything else as a sealed pickle.

The seal is a keyed BLAKE2b (RFC 7693) over the pickle, keyed from SECRET_KEY and verified before unpickling: a process
that can write the directory but does not know the key can not make Django execute code (the lesson of CVE-2025-69872).
"""

from __future__ import annotations

import hmac
import logging
import pickle
import re
from collections.abc import Iterable
from hashlib import blake2b
from typing import Any, Final

security_logger = logging.getLogger("django.security.ferrokv")

SEALED_PICKLE: Final = b"\x01"
SEAL_BYTES: Final = 16
_DIGITS_FIRST: Final = frozenset(b"-0123456789")
_INTEGER: Final = re.compile(rb"-?[0-9]{1,19}")
_INT64_MIN: Final = -(1 << 63)
_INT64_MAX: Final = (1 << 63) - 1
_BODY: Final = 1 + SEAL_BYTES

MISSING: Final = object()


class ValueCodec:
    """Encodes with the first key, decodes with any. Immutable; any thread."""

    def __init__(self, secret_keys: Iterable[str | bytes]) -> None:
        self._states = [_keyed_state(key) for key in secret_keys]

    def encode(self, value: Any) -> bytes:
        """The stored bytes. Raises what pickle raises for a value that can not be pickled."""
        if type(value) is int and _INT64_MIN <= value <= _INT64_MAX:
            return b"%d" % value
        body = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
        return SEALED_PICKLE + _seal(self._states[0], body) + body

    def decode(self, stored: bytes) -> Any:
        """The value, or MISSING with a line in the security log when the seal does not fit."""
        if stored and stored[0] in _DIGITS_FIRST and _INTEGER.fullmatch(stored):
            return int(stored)
        if stored[:1] == SEALED_PICKLE:
            seal, body = stored[1:_BODY], stored[_BODY:]
            for state in self._states:
                if hmac.compare_digest(seal, _seal(state, body)):
                    return pickle.loads(body)  # noqa: S301 - the seal has been verified
        security_logger.warning("a cached value has no valid seal and counts as missing: bytes=%d", len(stored))
        return MISSING


def _keyed_state(secret_key: str | bytes) -> blake2b:
    """A hash state keyed from SECRET_KEY, whatever its length, to be copied for each value."""
    secret = secret_key.encode() if isinstance(secret_key, str) else secret_key
    key = blake2b(secret, digest_size=64, person=b"ferrokv.cache").digest()
    return blake2b(key=key, digest_size=SEAL_BYTES)


def _seal(state: blake2b, body: bytes) -> bytes:
    own = state.copy()
    own.update(body)
    return own.digest()
