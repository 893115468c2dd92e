"""The semantics of Redis, and the two faces."""
