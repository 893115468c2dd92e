"""Management commands: `ferrokv_stats`, `ferrokv_compact`, `ferrokv_verify`, `ferrokv_backup`, `ferrokv_clear`."""
