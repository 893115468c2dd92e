"""Bytes to values and back: pure functions, no I/O, no clock, no locks. The reference is docs/format.md."""
