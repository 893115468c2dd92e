"""Opening a store, by recovery or by attaching to it; and checking that it is still the same
directory.
"""
