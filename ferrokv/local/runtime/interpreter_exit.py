"""What is done at the very end of the interpreter, behind all of its handlers and threads: announcements are taken back.

Nothing that outlives the modules (a handler, a fork hook) may lead to this one, so that its end is that of the modules. If it comes
too late, or never, the kernel lets go of the locks, and the next opening removes what stands for nobody any more.
"""

from __future__ import annotations

from contextlib import suppress

from .forks import notice
from .registry import opened
from .store import Store


class _Last:
    """Dies with its module."""

    def __del__(self) -> None:
        with suppress(Exception):  # the interpreter is half gone
            notice()
            for store in opened():
                if store.__class__ is Store:
                    store.storage.close()


_last = _Last()
