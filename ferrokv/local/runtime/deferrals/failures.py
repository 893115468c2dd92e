"""The errors of a deferral: what settling raises, and what it only logs.

A caller may declare a write forgiving, as caches do: losing it is logged, not raised. Every other
failure must reach somebody exactly once, so the first one is kept until a settling has raised it.
"""

from __future__ import annotations

import logging
from typing import Final

from ....errors import FerroKVError, StoreUncertain

logger = logging.getLogger("ferrokv.deferral")
INTERRUPTED: Final = "writes of a deferral were interrupted, and may be missing"


class Failures:
    """The first failure that has to be raised and has not been raised yet.

    Every method but `tell` is called under the deferral's lock.
    """

    def __init__(self) -> None:
        # Something whose loss has to be raised was done since the last settling began, or failed.
        self.loss_matters = False
        self._error: FerroKVError | None = None
        self._is_told = False

    @property
    def is_kept(self) -> bool:
        """True if there is a failure to raise."""
        return self._error is not None

    def keep(self, error: BaseException, *, loss_matters: bool, unforgiving: bool, writes: int) -> None:
        """Keep the error of a request, unless everything it concerns is forgiving.

        `loss_matters` is what the request says of itself, and `unforgiving` what the `writes`
        collected writes say that it took along.
        """
        if not isinstance(error, FerroKVError):  # raised by a signal handler in the middle of the write
            error = StoreUncertain(f"{INTERRUPTED}: {error!r}")
        self.loss_matters |= loss_matters  # it is not durable yet
        if loss_matters or unforgiving:
            if self._error is None or self._is_told:
                self._error, self._is_told = error, False
        elif writes:
            logger.warning("collected writes were lost; this is ignored: writes=%d error=%s", writes, error)

    def forget_told(self) -> None:
        """Forget a failure that was raised, because another settling begins."""
        if self._is_told:
            self._error, self._is_told = None, False

    def tell(self, error: FerroKVError | None = None) -> None:
        """Raise the failure that was kept, if any.

        `error` is an error of the settling itself. It is raised if anything that is not forgiving
        depended on it, and logged otherwise.
        """
        # If the settling was refused before it took anything along, `loss_matters` is still set.
        failure = self._error or (error if self.loss_matters else None)
        if failure is not None:
            # Order: forgotten only by the next settling, since a signal handler may raise before
            # this does.
            self._is_told = True
            raise failure
        if error is not None:
            logger.warning("writes were not made durable; this is ignored: %s", error)
