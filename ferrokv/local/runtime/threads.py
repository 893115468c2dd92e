"""Whether background threads may run.

If not, callers do all work and hold nothing between calls.
"""

from __future__ import annotations

import sys
import threading


def may_run() -> bool:
    """False while the interpreter exits, in uWSGI without `enable-threads`, and where uWSGI forks.

    Once the main thread has ended, Python 3.12 and later starts no threads, and soon stops those
    that run. uWSGI runs threads only while a request is waiting. A thread stopped midway would hold
    locks that all processes need.

    uWSGI's master forks workers in C, without asking Python, whenever one has died. If a thread of
    the master held the interpreter's lock at that moment, nothing in the worker would ever release
    it, and the worker would hang before its first request. Without a master, the first process
    forks the others in the same way.
    """
    if not threading.main_thread().is_alive():
        return False
    uwsgi = sys.modules.get("uwsgi")
    given = getattr(uwsgi, "opt", None)
    if given is None:
        return True
    options = {_text(name): _text(value) for name, value in given.items()}
    forks = "master" in options or getattr(uwsgi, "numproc", 1) > 1
    return _runs_threads(options) and not (forks and _is_no_worker(uwsgi))


def _is_no_worker(uwsgi: object) -> bool:
    """True before uWSGI has made this process a worker, a mule or a spooler."""
    kinds = (getattr(uwsgi, name, None) for name in ("worker_id", "mule_id", "i_am_the_spooler"))
    return not any(kind() for kind in kinds if callable(kind))


def _runs_threads(options: dict[str, str]) -> bool:
    threads = options.get("threads", "1")
    return "enable-threads" in options or (threads.isdigit() and int(threads) > 1)


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
