"""What a forked child has to do before its first use of a store.

`os.fork` runs a hook in the child, so the work happens at once. A fork in C code, such as uWSGI's,
runs no hook; then `notice`, which every call reaches, detects it by the pid. By that time the child
may have threads of its own, and any lock may be held by a thread that exists only in the parent. So
nothing here waits for a lock from before the fork, and every lock that the child needs is made
anew.
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
_gates = {_known_pid: RLock()}  # by pid, so that no thread of the parent can hold the child's


def in_child(step: Callable[[], None]) -> None:
    """Register `step()` to be called in each forked child before anything else."""
    _steps.append(step)


def notice() -> bool:
    """Return True if this process turns out to be a fork that Python was not told of.

    Returns once everything is renewed. Any thread.
    """
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
            logger.exception("a forked child failed to give up what belongs to its parent")
    # Order: last, set what other threads wait for.
    for other in [known for known in _gates if known != pid]:
        del _gates[other]
    _known_pid = pid
    _at_work_pid = 0


os.register_at_fork(after_in_child=_renew)
