"""The commands as methods.

`aio` is written by hand. `blocking`, and `queued` for pipelines, are generated from it by `python
-m tools.make_twins`.
"""
