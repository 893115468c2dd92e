"""The LSM engine: memtables, tables, views, commit, flush, compaction, recovery.

Everything that needs the disk is an operation (`storage.requests.Op`); everything else is a plain function over memory.
"""
