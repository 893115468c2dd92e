"""The commands for asyncio, written by hand. After a change here: `python -m tools.make_twins`."""
