"""The state of a store in one process: views, the manifest, the control page, waiters, and the
reserve.
"""
