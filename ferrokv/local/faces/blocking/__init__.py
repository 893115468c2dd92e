"""The commands for threads, and inside transactions. Made by `python -m tests.make_twins`."""
