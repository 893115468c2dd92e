"""The WAL: loading and following it, transactions, and committing to it."""
