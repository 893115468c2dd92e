"""The cache's methods for threads, made from those in `aio` by `python -m tools.make_twins`."""
