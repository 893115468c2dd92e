"""Flushes and compactions: what is chosen, merged, dropped, written and installed.

Only the holder of the compact lock flushes and compacts.
"""
