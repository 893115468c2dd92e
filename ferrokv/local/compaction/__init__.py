"""Flushes and compactions: what is chosen, merged, left out, written and installed. Only for the holder of the compact lock."""
