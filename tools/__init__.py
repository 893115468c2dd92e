"""What makes files of the tree from others: `python -m tools.make_twins`, `make_commands`, `make_golden`."""
