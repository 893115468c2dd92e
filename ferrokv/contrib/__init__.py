"""Adapters: each only translates another library's contract into ferrokv's public names."""
