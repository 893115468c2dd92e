"""`manage.py ferrokv_verify`: read every byte of a store and check it."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError

from ferrokv import BlockingFerroKV

from ..stores import DAMAGED, StoreCommand, errors_as_exit_codes, progress


class Command(StoreCommand):
    """Reads only, beside whoever writes. Exit code 3 if anything is damaged."""

    help = "Check every file of a store: checksums, order, counts. Prints one line for each damage."

    def handle(self, *args: Any, alias: str, **options: Any) -> None:
        """Check it, and say what is damaged."""
        path = self.cache(alias)._place.path
        with errors_as_exit_codes(), BlockingFerroKV.open(path, read_only=True) as db, progress("Verifying") as report:
            found = db.verify(report)
        for problem in found.problems:
            self.stdout.write(str(problem))
        if found.problems:
            raise CommandError(f"{path}: {len(found.problems)} places are damaged.", returncode=DAMAGED)
        self.remark(f"{path}: {found.files:,} files, {found.records:,} records, {found.bytes:,} bytes, no damage.")
