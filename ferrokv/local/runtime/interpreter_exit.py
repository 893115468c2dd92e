"""Removes this process's announcements at the very end of the interpreter.

It runs after all exit handlers and threads, when the modules themselves are torn down; so nothing
that outlives the modules, such as a handler or fork hook, may reference this one. If it runs too
late or never, the kernel releases the locks, and the next opening removes stale announcements.
"""

from __future__ import annotations

from contextlib import suppress

from .forks import notice
from .registry import opened
from .store import Store


class _Last:
    """Destroyed together with its module."""

    def __del__(self) -> None:
        with suppress(Exception):  # the interpreter is partly torn down
            notice()
            for store in opened():
                if store.__class__ is Store:
                    store.storage.close()


_last = _Last()
