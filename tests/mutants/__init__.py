"""Seeded bugs, each of which the tests have to catch."""
