"""The WAL: loading it, following it, running transactions, and committing to it."""
