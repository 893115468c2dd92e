"""The commands for threads, and inside transactions. Made by `python -m tools.make_twins`."""
