"""`manage.py ferrokv_verify`: read and check every byte of a store."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError

from ferrokv import BlockingFerroKV

from ..stores import DAMAGED, StoreCommand, errors_as_exit_codes, progress


class Command(StoreCommand):
    """Only reads, next to any writers. Exit code 3 if anything is damaged."""

    help = "Check every file of a store: checksums, order, counts. Prints one line per problem."

    def handle(self, *args: Any, alias: str, **options: Any) -> None:
        """Check the store, and print what is damaged."""
        path = self.cache(alias)._location.path
        with errors_as_exit_codes(), BlockingFerroKV.open(path, read_only=True) as db, progress("Verifying") as report:
            found = db.verify(report)
        for problem in found.problems:
            self.stdout.write(str(problem))
        if found.problems:
            raise CommandError(f"{path} is damaged: {len(found.problems)} problems.", returncode=DAMAGED)
        self.remark(f"{path}: {found.files:,} files, {found.records:,} records, {found.bytes:,} bytes, no damage.")
