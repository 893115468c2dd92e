"""A batch of writes: one log frame, one sync, all or nothing."""

from __future__ import annotations

from ..errors import DataError
from .encoding import Expiry, Key, Value, Write, check_positive, encode_key, encode_ttl, encode_value
from .limits import BATCH_BYTES_MAX, BATCH_RECORDS_MAX


class WriteBatch:
    """Collects writes for `write(batch)`. Not safe to share between threads.

    Writes are applied in order, so the last write to a key wins.

    >>> batch = WriteBatch()
    >>> batch.set("user:101", "Alice").set("visits", 7, ex=60).delete("user:100")
    <WriteBatch records=3 bytes=28>
    """

    __slots__ = ("_bytes", "_writes")

    def __init__(self) -> None:
        self._writes: list[Write] = []
        self._bytes = 0

    def set(self, name: Key, value: Value, ex: Expiry | None = None, px: Expiry | None = None) -> WriteBatch:
        """Set a key, with an optional TTL of `ex` seconds or `px` milliseconds.

        Returns the batch, so that calls can be chained. `DataError` if the batch is full.
        """
        ttl_ms = None
        if ex is not None or px is not None:
            if ex is not None and px is not None:
                raise DataError("``ex`` and ``px`` are mutually exclusive.")
            ttl_ms = encode_ttl(ex) if ex is not None else encode_ttl(px or 0, unit_ms=1)
            check_positive(ttl_ms, "set")
        return self._add(encode_key(name), encode_value(value), ttl_ms)

    def delete(self, *names: Key) -> WriteBatch:
        """Delete the keys, whether or not they exist.

        Returns the batch; `DataError` if it is full.
        """
        for name in names:
            self._add(encode_key(name), None, None)
        return self

    def clear(self) -> None:
        """Drop everything collected so far, so that the batch can be reused."""
        self._writes = []
        self._bytes = 0

    @property
    def writes(self) -> list[Write]:
        """The writes that `write(batch)` submits."""
        return self._writes

    def __len__(self) -> int:
        return len(self._writes)

    def __repr__(self) -> str:
        return f"<WriteBatch records={len(self._writes)} bytes={self._bytes}>"

    def _add(self, key: bytes, value: bytes | None, ttl_ms: int | None) -> WriteBatch:
        size = len(key) + len(value or b"")
        if self._bytes + size > BATCH_BYTES_MAX or len(self._writes) >= BATCH_RECORDS_MAX:
            raise DataError(f"a batch holds at most {BATCH_BYTES_MAX} bytes and {BATCH_RECORDS_MAX} records: {self!r}")
        self._bytes += size
        self._writes.append((key, value, ttl_ms))
        return self
