"""What the management commands share: choosing the cache, exit codes, and progress on a terminal.

Data goes to stdout, progress and remarks to stderr. Exit codes: 1 for a failure, 3 for damage, 4
for a busy store.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.cache import InvalidCacheBackendError, caches
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.module_loading import import_string

from ferrokv import CorruptionError, FerroKVError, StoreBusy

from ..backend import FerroKVCache

if TYPE_CHECKING:
    from ferrokv.contract.blocking.stores import BlockingStore

DAMAGED = 3
BUSY = 4
Report = Callable[[int, int], None]
"""Called with the amount done and the total."""


class StoreCommand(BaseCommand):
    """A command for the store of one alias of CACHES."""

    requires_system_checks: Any = ()  # checks must not keep anybody from inspecting a store with problems

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the alias; subclasses add their own arguments."""
        parser.add_argument("--alias", default="default", help='the entry of CACHES to use (default: "default")')

    def cache(self, alias: str) -> FerroKVCache:
        """Return the cache of an alias. It raises failures even with IGNORE_EXCEPTIONS.

        `CommandError` if it is not a ferrokv cache.
        """
        try:
            cache = caches[alias]
        except (InvalidCacheBackendError, ImproperlyConfigured) as error:
            raise CommandError(str(error)) from error
        if not isinstance(cache, FerroKVCache):
            raise CommandError(f"CACHES[{alias!r}] is not a FerroKVCache.")
        if cache.problem is not None:
            raise CommandError(f"CACHES[{alias!r}] cannot be used: {cache.problem}")
        params = dict(settings.CACHES[alias])
        params["OPTIONS"] = {**(params.get("OPTIONS") or {}), "IGNORE_EXCEPTIONS": False}
        strict: FerroKVCache = import_string(params["BACKEND"])(params["LOCATION"], params)
        return strict

    def store(self, alias: str) -> BlockingStore:
        """Return the store of an alias."""
        return self.cache(alias)._location.blocking

    def remark(self, text: str) -> None:
        """Print a line for the person at the terminal."""
        self.stderr.write(text, self.style.NOTICE)


@contextmanager
def errors_as_exit_codes() -> Iterator[None]:
    """Turn errors of the store into one line and an exit code."""
    try:
        yield
    except CorruptionError as error:
        raise CommandError(f"damaged: {error}", returncode=DAMAGED) from error
    except StoreBusy as error:
        raise CommandError(f"busy: {error}", returncode=BUSY) from error
    except FerroKVError as error:
        raise CommandError(str(error)) from error


@contextmanager
def progress(what: str) -> Iterator[Report]:
    """Show a progress bar on stderr, if that is a terminal and rich is installed."""
    if not _is_shown():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn(what), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def spinner(what: str) -> Iterator[None]:
    """As `progress`, for work that cannot report it."""
    if not _is_shown():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(what):
        yield


def _is_shown() -> bool:
    return sys.stderr.isatty() and find_spec("rich") is not None
