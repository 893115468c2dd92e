"""The LSM tree as readers see it: memtables, tables, versions, views, and reading them. Nothing here changes a file."""
