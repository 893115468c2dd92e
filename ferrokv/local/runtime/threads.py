"""Whether background threads may run.

If not, callers do all work and hold nothing between calls.
"""

from __future__ import annotations

import sys
import threading


def may_run() -> bool:
    """False while the interpreter exits, and in uWSGI without `enable-threads`.

    Once the main thread has ended, Python 3.12 and later starts no threads, and soon stops those
    that run. uWSGI runs threads only while a request is waiting. A thread stopped midway would hold
    locks that all processes need.
    """
    if not threading.main_thread().is_alive():
        return False
    options = getattr(sys.modules.get("uwsgi"), "opt", None)
    return options is None or _runs_threads({_text(name): _text(value) for name, value in options.items()})


def _runs_threads(options: dict[str, str]) -> bool:
    threads = options.get("threads", "1")
    return "enable-threads" in options or (threads.isdigit() and int(threads) > 1)


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
