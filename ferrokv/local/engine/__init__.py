"""The state of a store in one process: views, manifest, control page, waiters, reserve."""
