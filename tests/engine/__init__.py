"""One engine: memtables to tables, power cuts, full disks, damage, verification, backups."""
