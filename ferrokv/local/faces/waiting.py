"""Deadlines of blocking commands."""

from __future__ import annotations

import time

from ...contract.encoding import encode_value
from ...errors import ResponseError
from ..commands.floats import decode_score


class Patience:
    """How long one caller waits. A timeout of 0 or None waits forever."""

    __slots__ = ("_deadline",)

    def __init__(self, timeout: float | str | bytes | None) -> None:
        if timeout is None:
            timeout = 0
        if isinstance(timeout, str | bytes):
            timeout = decode_score(encode_value(timeout), "timeout is not a float or out of range")
        if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not abs(timeout) < float("inf"):
            raise ResponseError("timeout is not a float or out of range")
        if timeout < 0:
            raise ResponseError("timeout is negative")
        self._deadline = time.monotonic() + timeout if timeout else None

    @property
    def left(self) -> float | None:
        """Seconds until the deadline, never below 0; None without a deadline."""
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())
