"""Work on a store outside of the write path: quotas, verification and backups."""
