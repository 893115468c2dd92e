"""The commands for asyncio, written by hand. After a change, run `python -m tools.make_twins`."""
