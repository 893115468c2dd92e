"""The local backend: a store in a directory of this machine. docs/architecture.md is the map."""
