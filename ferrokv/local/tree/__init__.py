"""The LSM tree as readers see it: memtables, tables, versions, views, and how to read them.

Nothing in this package changes a file.
"""
