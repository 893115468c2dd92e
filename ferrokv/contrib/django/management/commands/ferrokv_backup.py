"""`manage.py ferrokv_backup TARGET`: a consistent copy of a store, while everybody goes on using it."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from ferrokv import BlockingFerroKV

from ..stores import StoreCommand, errors_as_exit_codes, progress


class Command(StoreCommand):
    """The copy is a store like any other: to restore, name its directory as LOCATION, or move it there while nobody runs."""

    help = "Copy a store, all its keyspaces as of one moment, into a new directory."

    def add_arguments(self, parser: CommandParser) -> None:
        """Where to."""
        super().add_arguments(parser)
        parser.add_argument("target", help="the directory of the copy, which is made; its parent must exist")

    def handle(self, *args: Any, alias: str, target: str, **options: Any) -> None:
        """Copy it; the copy is durable when this ends."""
        path = self.cache(alias)._place.path
        with errors_as_exit_codes(), BlockingFerroKV.open(path, read_only=True) as db, progress("Copying") as report:
            made = db.backup(target, report)
        self.remark(f"{made.path}: {made.records:,} records, {made.bytes:,} bytes.")
