"""Cached values as bytes (docs/format.md section 10): integers as digits, all else serialized.

Digits let INCR work natively. Whatever could do harm when loaded is sealed with a keyed BLAKE2b
(RFC 7693), whose key derives from a secret; the seal is verified before decompressing or loading.
So a process that can write to the directory but does not know the secret cannot make readers
execute code (the lesson of CVE-2025-69872).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from hashlib import blake2b
from hmac import compare_digest
from typing import Any, Final

from ferrokv import DataError

from . import compressors, serializers
from .compressors import INFLATED_BYTES_MAX, Compressor
from .envelopes import ENVELOPES
from .serializers import PickleSerializer, Serializer

_logger = logging.getLogger("ferrokv.contrib.codecs")

SEALED: Final = 1
PLAIN: Final = 2
COMPRESSED_BYTES_MIN: Final = 1024
_SEAL_BYTES: Final = 16
_HEAD: Final = 3  # kind, serializer, compressor
_SEALED_HEAD: Final = _HEAD + _SEAL_BYTES
_DIGITS_FIRST: Final = frozenset((b"-", *(b"%d" % digit for digit in range(10))))
_INTEGER: Final = re.compile(rb"-?[0-9]{1,19}")
INT64_MIN: Final = -(1 << 63)
INT64_MAX: Final = (1 << 63) - 1

MISSING: Final = object()


class ValueCodec:
    """Encodes and decodes values. Any thread.

    Seals with the first key and accepts any. Reads what its own serializer wrote, with any
    compressor.
    """

    def __init__(
        self,
        secret_keys: Iterable[str | bytes],
        serializer: Serializer | None = None,
        compressor: Compressor | None = None,
        compressed_bytes_min: int = COMPRESSED_BYTES_MIN,
        logger: logging.Logger = _logger,
        security_logger: logging.Logger = _logger,
    ) -> None:
        """`security_logger` is told of seals that are broken, `logger` of all else that counts as missing."""
        self._logger = logger
        self._security_logger = security_logger
        serializer = serializer or PickleSerializer()
        self._dumps = serializer.dumps
        self._loads = serializer.loads
        self._compressor = compressor
        self._decompressors = {} if compressor is None else {getattr(compressor, "number", compressors.OWN): compressor}
        self._compressed_bytes_min = compressed_bytes_min
        sealed = getattr(serializer, "sealed", True)
        number = getattr(serializer, "number", serializers.OWN)
        own = compressors.NONE if compressor is None else getattr(compressor, "number", compressors.OWN)
        kind = SEALED if sealed else PLAIN
        self._head = bytes((kind, number, compressors.NONE))
        self._compressed_head = bytes((kind, number, own))
        keys = [_key(secret) for secret in secret_keys] if sealed else []
        # The hash state after its key and the head, for each readable head, so that only the body
        # is left to hash.
        self._states = {
            head: [blake2b(head[1:], key=key, digest_size=_SEAL_BYTES) for key in keys]
            for head in {
                self._head,
                self._compressed_head,
                *(bytes((kind, number, known)) for known in compressors.NUMBERS),
            }
        }
        self._is_sealed = sealed
        self._usual_head = self._head if sealed else None
        self._copy_state: Any = self._states[self._head][0].copy if sealed else None

    def encode(self, value: Any) -> bytes:
        """Return the stored bytes.

        Raises whatever the serializer raises for values that it cannot encode.
        """
        if type(value) is int and INT64_MIN <= value <= INT64_MAX:
            return b"%d" % value
        body: bytes = self._dumps(value)
        head = self._head
        if len(body) > INFLATED_BYTES_MAX:  # larger values could not be decompressed when read
            raise DataError(
                f"a value may have at most {INFLATED_BYTES_MAX} bytes before compression: found={len(body)}"
            )
        if self._compressor is not None and len(body) >= self._compressed_bytes_min:
            smaller = self._compressor.compress(body)
            if len(smaller) < len(body):
                head, body = self._compressed_head, smaller
        if not self._is_sealed:
            return head + body
        state = self._states[head][0].copy()
        state.update(body)
        return b"%b%b%b" % (head, state.digest(), body)

    def decode(self, stored: bytes) -> Any:
        """Return the value, or MISSING for an envelope or unusable bytes.

        A broken seal is logged to the security log, and a value that does not load as a warning.
        """
        head = stored[:_HEAD]
        if head == self._usual_head:  # no function calls here, for speed: benchmarks/django_cache.py, get_hit
            body = stored[_SEALED_HEAD:]
            state = self._copy_state()
            state.update(body)
            if compare_digest(state.digest(), stored[_HEAD:_SEALED_HEAD]):
                try:
                    return self._loads(body)
                except Exception as error:  # noqa: BLE001 - as in `_load`
                    return self._not_loaded(error)
        if stored[:1] in ENVELOPES or not self.verifies(stored):
            return MISSING
        if stored[:1] in _DIGITS_FIRST:
            return int(stored)
        body = stored[_SEALED_HEAD if self._is_sealed else _HEAD :]
        return self._load(body, head[_HEAD - 1])

    def verifies(self, stored: bytes) -> bool:
        """True for an integer, or for bytes of this serializer with a valid seal if required."""
        if stored[:1] in _DIGITS_FIRST:
            return _INTEGER.fullmatch(stored) is not None
        states = self._states.get(stored[:_HEAD])
        if states is None:
            self._logger.debug(
                "treating a cached value of another serializer or compressor as missing: bytes=%d", len(stored)
            )
            return False
        if not self._is_sealed:
            return True
        seal, body = stored[_HEAD:_SEALED_HEAD], stored[_SEALED_HEAD:]
        for state in states:
            own = state.copy()
            own.update(body)
            if compare_digest(seal, own.digest()):
                return True
        self._security_logger.warning("a cached value has no valid seal; treating it as missing: bytes=%d", len(stored))
        return False

    def _load(self, body: bytes, compression: int) -> Any:
        try:
            if compression != compressors.NONE:
                if compression not in self._decompressors:
                    self._decompressors[compression] = compressors.NUMBERS[compression]()
                body = self._decompressors[compression].decompress(body)
            return self._loads(body)
        except Exception as error:  # noqa: BLE001 - a class renamed by a deployment must not break every page
            return self._not_loaded(error)

    def _not_loaded(self, error: Exception) -> Any:
        self._logger.warning("a cached value cannot be loaded; treating it as missing: %r", error)
        return MISSING


def _key(secret_key: str | bytes) -> bytes:
    """Derive a key of the hash's size from SECRET_KEY, whatever its length."""
    secret = secret_key.encode() if isinstance(secret_key, str) else secret_key
    return blake2b(secret, digest_size=64, person=b"ferrokv.cache").digest()
