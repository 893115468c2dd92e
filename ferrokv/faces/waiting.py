"""How blocking pops wait: they look at the COMMIT word every few milliseconds, which costs nothing, and at keys only after news."""

from __future__ import annotations

import time
from typing import Final

from ..commands.encoding import encode_value
from ..commands.floats import decode_score
from ..engine.engine import Engine
from ..errors import ResponseError
from ..format.control import COMMIT

POLL_SECONDS: Final = 0.003


class Patience:
    """How long one caller waits. 0 and None: for ever."""

    __slots__ = ("_deadline", "_seen")

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
        self._seen = 0

    def look(self, engine: Engine) -> None:
        """Note what is known before looking at keys."""
        self._seen = engine.words[COMMIT]

    def has_news(self, engine: Engine) -> bool:
        """True if somebody has committed since `look`."""
        return engine.words[COMMIT] != self._seen

    @property
    def is_over(self) -> bool:
        """True when the time is."""
        return self._deadline is not None and time.monotonic() >= self._deadline

    @property
    def nap(self) -> float:
        """How long to sleep until the next look."""
        if self._deadline is None:
            return POLL_SECONDS
        return max(0.0, min(POLL_SECONDS, self._deadline - time.monotonic()))
