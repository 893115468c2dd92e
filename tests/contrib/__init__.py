"""The adapters, other people's suites on them, and the example site."""
