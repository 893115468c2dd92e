"""`manage.py ferrokv_compact`: reclaim the space of deleted and expired keys now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..stores import StoreCommand, errors_as_exit_codes, spinner

if TYPE_CHECKING:
    from ferrokv.contract.blocking.stores import BlockingStore


class Command(StoreCommand):
    """Compacts while others read and write."""

    help = (
        "Rewrite the tables of a store without deleted and long-expired keys. This also happens by itself, only later."
    )

    def handle(self, *args: Any, alias: str, **options: Any) -> None:
        """Compact, and print how much space was reclaimed."""
        with errors_as_exit_codes():
            db = self.store(alias)
            before = _table_bytes(db)
            with spinner("Compacting"):
                db.compact()
            self.remark(f"{db.stats().path}: {before:,} bytes of tables before, {_table_bytes(db):,} now.")


def _table_bytes(db: BlockingStore) -> int:
    return sum(level.bytes for level in db.stats().levels)
