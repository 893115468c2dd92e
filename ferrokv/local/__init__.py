"""The local backend: a store in a directory of this machine. docs/architecture.md says what is where, and what to read first."""
