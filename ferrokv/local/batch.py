"""A batch of writes: one frame, one sync, all or nothing."""

from __future__ import annotations

from ..errors import DataError
from .commands.encoding import Expiry, Key, Value, encode_key, encode_ttl, encode_value
from .commands.strings import Write, check_positive
from .format.limits import BATCH_BYTES_MAX, BATCH_RECORDS_MAX


class WriteBatch:
    """Gathers writes for `write(batch)`, in order; the last write of a key counts. Not shared between threads.

    >>> batch = WriteBatch()
    >>> batch.set("user:101", "Alice").set("visits", 7, ex=60).delete("user:100")
    <WriteBatch records=3 bytes=28>
    """

    __slots__ = ("_bytes", "_writes")

    def __init__(self) -> None:
        self._writes: list[Write] = []
        self._bytes = 0

    def set(self, name: Key, value: Value, ex: Expiry | None = None, px: Expiry | None = None) -> WriteBatch:
        """Set the key, with a TTL of `ex` seconds or `px` ms. Returns the batch; `DataError` when it is full."""
        ttl_ms = None
        if ex is not None or px is not None:
            if ex is not None and px is not None:
                raise DataError("``ex`` and ``px`` are mutually exclusive.")
            ttl_ms = encode_ttl(ex) if ex is not None else encode_ttl(px or 0, unit_ms=1)
            check_positive(ttl_ms, "set")
        return self._add(encode_key(name), encode_value(value), ttl_ms)

    def delete(self, *names: Key) -> WriteBatch:
        """Delete the keys, whether they are there or not. Returns the batch."""
        for name in names:
            self._add(encode_key(name), None, None)
        return self

    def clear(self) -> None:
        """Forget everything, so that the batch can be filled again."""
        self._writes = []
        self._bytes = 0

    @property
    def writes(self) -> list[Write]:
        """What `write(batch)` submits."""
        return self._writes

    def __len__(self) -> int:
        return len(self._writes)

    def __repr__(self) -> str:
        return f"<WriteBatch records={len(self._writes)} bytes={self._bytes}>"

    def _add(self, key: bytes, value: bytes | None, ttl_ms: int | None) -> WriteBatch:
        size = len(key) + len(value or b"")
        if self._bytes + size > BATCH_BYTES_MAX or len(self._writes) >= BATCH_RECORDS_MAX:
            raise DataError(f"a batch has at most {BATCH_BYTES_MAX} bytes and {BATCH_RECORDS_MAX} records: {self!r}")
        self._bytes += size
        self._writes.append((key, value, ttl_ms))
        return self
