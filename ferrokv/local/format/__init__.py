"""Encoders and decoders of the on-disk format: pure functions, no I/O, no clock, no locks.

The format is specified in docs/format.md.
"""
