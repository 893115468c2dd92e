"""Programs for servers and task queues that fork: see tests/test_prefork.py."""
