"""`manage.py ferrokv_compact`: give the space of deleted and expired keys back now."""

from __future__ import annotations

from typing import Any

from ..stores import StoreCommand, errors_as_exit_codes, spinner


class Command(StoreCommand):
    """Others read and write meanwhile."""

    help = (
        "Rewrite the tables of a store without what is deleted or long expired. It happens by itself, too, only later."
    )

    def handle(self, *args: Any, alias: str, **options: Any) -> None:
        """Compact, and say what it gave."""
        with errors_as_exit_codes():
            db = self.store(alias)
            before = _table_bytes(db)
            with spinner("Compacting"):
                db.compact()
            self.remark(f"{db.stats().path}: {before:,} bytes of tables before, {_table_bytes(db):,} now.")


def _table_bytes(db: Any) -> int:
    return sum(level.bytes for level in db.stats().levels)
