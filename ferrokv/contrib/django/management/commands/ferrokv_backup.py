"""`manage.py ferrokv_backup TARGET`: a consistent copy of a store, without stopping anything."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from ferrokv import BlockingFerroKV

from ..stores import StoreCommand, errors_as_exit_codes, progress


class Command(StoreCommand):
    """Writes a copy that is a store like any other.

    To restore it, name its directory as LOCATION, or move it there while no process uses the store.
    """

    help = "Copy a store, all its keyspaces as of one moment, into a new directory."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the target."""
        super().add_arguments(parser)
        parser.add_argument("target", help="the directory for the copy, created if missing; its parent must exist")

    def handle(self, *args: Any, alias: str, target: str, **options: Any) -> None:
        """Copy the store. The copy is durable on return."""
        path = self.cache(alias)._location.path
        with errors_as_exit_codes(), BlockingFerroKV.open(path, read_only=True) as db, progress("Copying") as report:
            made = db.backup(target, report)
        self.remark(f"{made.path}: {made.records:,} records, {made.bytes:,} bytes.")
