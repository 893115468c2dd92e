"""Where threads of ours would get no turn, callers do all of the work themselves, and nothing is held from one call to the next."""

from __future__ import annotations

import sys
import threading


def may_run() -> bool:
    """False at the end of the interpreter, in uWSGI without `enable-threads`, and in uWSGI's master.

    From the moment when the main thread has ended, Python 3.12 and later start no thread, and before it stops those that there are.
    uWSGI lets threads run only while a request waits for something. Stopped in between, they would hold locks of all processes.
    Its master forks workers without asking Python, whenever one has died. If a thread of the master held the interpreter's lock at
    that moment, nobody in the worker would ever let it go, and the worker would hang before its first request.
    """
    if not threading.main_thread().is_alive():
        return False
    uwsgi = sys.modules.get("uwsgi")
    given = getattr(uwsgi, "opt", None)
    if given is None:
        return True
    options = {_text(name): _text(value) for name, value in given.items()}
    return _runs_threads(options) and not ("master" in options and _is_no_worker(uwsgi))


def _is_no_worker(uwsgi: object) -> bool:
    """True before uWSGI has made this process a worker, a mule or a spooler."""
    kinds = (getattr(uwsgi, name, None) for name in ("worker_id", "mule_id", "i_am_the_spooler"))
    return not any(kind() for kind in kinds if callable(kind))


def _runs_threads(options: dict[str, str]) -> bool:
    threads = options.get("threads", "1")
    return "enable-threads" in options or (threads.isdigit() and int(threads) > 1)


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
