"""Where threads of ours would get no turn, callers do all of the work themselves, and nothing is held from one call to the next."""

from __future__ import annotations

import sys
import threading


def may_run() -> bool:
    """False at the end of the interpreter, and in uWSGI without `enable-threads`.

    From the moment when the main thread has ended, Python 3.12 and later start no thread, and before it stops those that there are.
    uWSGI lets threads run only while a request waits for something. Stopped in between, they would hold locks of all processes.
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
