"""The commands of pipelines. Made by `python -m tools.make_twins`."""
