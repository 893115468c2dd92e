"""`manage.py ferrokv_stats`: show the contents of a store, and who has it open."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import CommandParser

from ferrokv import BlockingFerroKV

from ..stores import StoreCommand, errors_as_exit_codes


class Command(StoreCommand):
    """Only reads, next to any writers."""

    help = "Show a store: its keyspaces with keys and bytes, its tables, and the processes that have it open."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options for JSON output and for skipping the count."""
        super().add_arguments(parser)
        parser.add_argument("--json", action="store_true", dest="as_json", help="print JSON")
        parser.add_argument(
            "--fast", action="store_true", help="skip counting keys and bytes, which reads the whole store"
        )

    def handle(self, *args: Any, alias: str, as_json: bool, fast: bool, **options: Any) -> None:
        """Print the figures."""
        with errors_as_exit_codes(), BlockingFerroKV.open(self.cache(alias)._location.path, read_only=True) as db:
            stats = db.stats()
            facts: dict[str, Any] = stats._asdict()
            facts["processes"] = [process._asdict() for process in stats.processes]
            facts["levels"] = [level._asdict() for level in stats.levels]
            counted = {} if fast else {name: found._asdict() for name, found in db.keyspaces().items()}
        facts["keyspaces"] = counted or dict.fromkeys(stats.keyspaces)
        if as_json:
            self.stdout.write(json.dumps(facts, indent=1))
            return
        for name in (
            "path",
            "file_system",
            "durable",
            "failed",
            "damaged_tables",
            "compactor_pid",
            "wal_bytes",
            "memtable_records",
        ):
            self.stdout.write(f"{name.replace('_', ' '):18} {facts[name]}")
        for process in stats.processes:
            self.stdout.write(f"{'open in':18} pid {process.pid} ({process.program})")
        for name, found in facts["keyspaces"].items():
            self.stdout.write(f"{'keyspace':18} {name}{_counts(found)}")
        for number, level in enumerate(stats.levels):
            if level.tables:
                row = f"{level.tables:,} tables, {level.records:,} records, {level.bytes:,} bytes"
                self.stdout.write(f"{f'level {number}':18} {row}")


def _counts(found: dict[str, Any] | None) -> str:
    if found is None:
        return ""
    quota = "" if found["max_bytes"] is None else f" of {found['max_bytes']:,}"
    return f": {found['keys']:,} keys, {found['bytes']:,} bytes{quota}"
