"""What keeps a store in order from outside the write path: quotas, verification, backups."""
