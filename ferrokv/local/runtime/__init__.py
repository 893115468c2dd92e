"""Threads and processes around the engine, and the one store per directory."""
