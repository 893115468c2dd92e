"""The commands as methods. `aio` is written by hand; `blocking`, and `queued` for pipelines, are made from it by
`python -m tools.make_twins`.
"""
