"""The semantics of Redis, as functions of a transaction or of records."""
