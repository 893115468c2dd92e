"""Threads and processes around the engine: the writer, background work, and one shared store for each directory."""
