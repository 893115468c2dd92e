"""The cache's methods for threads, made from those in `aio` by `python -m tests.make_twins`."""
