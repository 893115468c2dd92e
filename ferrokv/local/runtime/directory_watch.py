"""Checks once a second that the directory is still the one that was opened, and runs other chores.

See `opening/same_directory.py` for the check.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from ...errors import FerroKVError, StoreReplaced
from ..engine.engine import Engine, logger
from ..opening.same_directory import LOOK_SECONDS, check_directory
from ..storage.drivers import complete


def _nothing() -> None:
    """Do nothing."""


class Lookout:
    """The watch of one store. Owned by whoever has the background's turn.

    The background thread may also look between two turns.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._next_at = 0.0
        self.given_up: Callable[[], None] = _nothing
        """Shuts the store down. Called once."""
        self.each_second: Callable[[], None] = _nothing
        """Called after each look."""

    @property
    def is_due(self) -> bool:
        """True once a second has passed since the last look."""
        return time.monotonic() >= self._next_at

    def check(self, *, stopping: bool) -> None:
        """Look if it is due.

        If the directory was replaced, give the store up, unless it is stopping anyway.
        """
        engine = self._engine
        if engine.failure is None and self.is_due:
            self._next_at = time.monotonic() + LOOK_SECONDS
            try:
                complete(check_directory(engine), engine.storage)
            except (FerroKVError, OSError) as error:
                logger.info("cannot check the directory: %s", error)
            if not stopping:
                self.each_second()
        if isinstance(engine.failure, StoreReplaced) and not stopping:
            given_up, self.given_up = self.given_up, _nothing
            given_up()
