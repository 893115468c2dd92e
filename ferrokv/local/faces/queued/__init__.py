"""The commands of pipelines. Made by `python -m tests.make_twins`."""
