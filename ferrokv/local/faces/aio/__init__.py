"""The commands for asyncio, written by hand. After a change here: `python -m tests.make_twins`."""
