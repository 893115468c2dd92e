"""`python -m tests.processes.soak.weigh DIRECTORY`: compact a store that nobody else has open, and list its directory as JSON."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from ferrokv import BlockingFerroKV

from . import OPTIONS

ALWAYS_THERE = re.compile(r"CURRENT|control|(open|write|sync|compact)\.lock|reserve.*")


def main() -> None:
    store = Path(sys.argv[1])
    with BlockingFerroKV.open(store, **OPTIONS) as db:
        db.compact()
        live = 0
        for name in db.stats().keyspaces:
            with db.keyspace(name) as keyspace:
                live += sum(len(key) + len(value) for key, value in keyspace.scan())
        tables = {f"table-{table.number:08d}.sst" for table in db._store.engine.view.version.tables()}
    found = {path.name: path.stat().st_size for path in store.iterdir()}
    logs = {max((name for name in found if name.startswith(kind)), default="") for kind in ("wal-", "manifest-")}
    facts = {
        "disk_bytes": sum(found.values()),
        "live_bytes": live,
        "files": len(found),
        "unnamed": sorted(name for name in found if name not in tables | logs and not ALWAYS_THERE.fullmatch(name)),
    }
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
