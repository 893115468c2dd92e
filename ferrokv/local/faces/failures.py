"""What the settling of a deferral has to raise, and what it only logs."""

from __future__ import annotations

import logging
from typing import Final

from ...errors import FerroKVError, StoreUncertain
from .outcomes import Asked

logger = logging.getLogger("ferrokv.deferral")
INTERRUPTED: Final = "writes of a deferral were interrupted, and may be missing"


class Failures:
    """The first failure that somebody minds and has not been told of. All but `tell` are called under the deferral's lock."""

    def __init__(self) -> None:
        self.is_minded = (
            False  # something was done since the last settling began, or failed, whose loss has to be raised
        )
        self._error: FerroKVError | None = None
        self._is_told = False

    @property
    def is_kept(self) -> bool:
        """True if there is one to tell."""
        return self._error is not None

    def keep(self, asked: Asked, error: BaseException) -> None:
        """Keep the error of a request, if it is about anything that somebody minds."""
        if not isinstance(error, FerroKVError):  # of a signal handler in the middle of the write
            error = StoreUncertain(f"{INTERRUPTED}: {error!r}")
        self.is_minded |= asked.minded  # it is not durable yet
        if asked.minded or not all(entry.forgiving for entry in asked.taken.values()):
            if self._error is None or self._is_told:
                self._error, self._is_told = error, False
        elif asked.taken:
            logger.warning("gathered writes were lost, which is ignored: writes=%d error=%s", len(asked.taken), error)

    def forget_told(self) -> None:
        """A settling begins."""
        if self._is_told:
            self._error, self._is_told = None, False

    def tell(self, error: FerroKVError | None = None) -> None:
        """Raise what is kept. An `error` of the settling itself is raised if anybody minds, and logged if not."""
        # A settling that was refused before it took anything along has left the flag standing.
        failure = self._error or (error if self.is_minded else None)
        if failure is not None:
            # Order: forgotten by the next settling only, since a signal handler may raise before this does.
            self._is_told = True
            raise failure
        if error is not None:
            logger.warning("writes were not made durable, which is ignored: %s", error)
