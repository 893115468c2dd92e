"""`manage.py ferrokv_clear`: clear one cache, and nothing else in its store."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from ..stores import StoreCommand, errors_as_exit_codes


class Command(StoreCommand):
    """Asks for confirmation, unless told not to."""

    help = "Clear a cache. Sessions and other caches in the same directory are not affected."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add Django's usual option to skip the confirmation."""
        super().add_arguments(parser)
        parser.add_argument("--noinput", "--no-input", action="store_false", dest="interactive", help="do not ask")

    def handle(self, *args: Any, alias: str, interactive: bool, **options: Any) -> None:
        """Clear it."""
        cache = self.cache(alias)
        location = cache._location
        if interactive:
            try:
                answer = input(f"Clear the keyspace {location.keyspace!r} of {location.path}? [y/N] ")
            except EOFError as error:
                raise CommandError("There is nobody to ask, so nothing was cleared. Use --noinput.") from error
            if answer.strip().lower() not in ("y", "yes"):
                raise CommandError("Nothing was cleared.")
        with errors_as_exit_codes():
            cache.clear()
        self.remark(f"The keyspace {location.keyspace!r} of {location.path} is empty.")
