"""What has to be done in a forked child, at the latest at its first call.

`os.fork` tells us, and it is done at once. A fork by C code, such as uWSGI's, tells nobody: then it is done by `notice`, which
every call reaches. By that time the child may have threads of its own, and any lock may be held by a thread that only its parent
has: nothing here waits for a lock of before the fork, and whatever needs a lock in the child gets a new one.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from threading import RLock

logger = logging.getLogger("ferrokv.local.runtime")

_steps: list[Callable[[], None]] = []
_known_pid = os.getpid()
_at_work_pid = 0
_gates = {_known_pid: RLock()}  # by pid, so that nobody in a parent has the one of its child


def in_child(step: Callable[[], None]) -> None:
    """Have `step()` called in each forked child before anything else is done there."""
    _steps.append(step)


def notice() -> bool:
    """True if this process turns out to be a fork that Python was not told of. Returns when everything is renewed. Any thread."""
    pid = os.getpid()
    if pid == _known_pid:
        return False
    with _gates.setdefault(pid, RLock()):
        if pid in (_known_pid, _at_work_pid):
            return False
        _renew()
    return True


def _renew() -> None:
    global _at_work_pid, _known_pid
    pid = _at_work_pid = os.getpid()
    for step in _steps:
        try:
            step()
        except Exception:
            logger.exception("a forked child could not give up what belongs to its parent")
    # Order: what others wait for comes last.
    for other in [known for known in _gates if known != pid]:
        del _gates[other]
    _known_pid = pid
    _at_work_pid = 0


os.register_at_fork(after_in_child=_renew)
